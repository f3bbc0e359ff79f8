"""Commands about the pushed models."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import AsJson, ConfigFiles, Settings, Verbose, load


def predict(
    model: Annotated[Path, typer.Argument(help="A pushed version, or the folder of versions (the one in service is taken).")],
    data: Annotated[Path, typer.Argument(help="Folder with the raw tables, or with tf.Examples.")],
    out: Annotated[Path, typer.Argument(help="File for the scores; .csv or .parquet.")],
    submission: Annotated[
        bool, typer.Option("--submission", help="Write display_id and its ad_ids by score, best first (.csv).")
    ] = False,
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Score every ad: of the test displays if the tables have any, else of all displays. Of the configuration, reads `ingest`."""
    from pipeline.predict import predict as predict_all

    ingest = load(config, set_).ingest
    result = predict_all(model, data, out, ingest, submission=submission, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(f"{result['rows']:,} ads of {result['displays']:,} displays scored by version {result['version']}: {out}")


def versions(
    root: Annotated[Path, typer.Option(help="Folder of the runs whose versions these are.")],
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
) -> None:
    """List the pushed versions: number, digest, when (UTC), MAP@12 of its run, and which is in service."""
    from pipeline.serving import line, list_versions

    listed = list_versions(root, load(config, set_))
    if as_json:
        typer.echo(json.dumps({"versions": listed}))
        return
    for version in listed:
        typer.echo(line(version))


def rollback(
    root: Annotated[Path, typer.Option(help="Folder of the runs whose versions these are.")],
    to: Annotated[
        int | None,
        typer.Option(metavar="VERSION", help="The version to put back. [default: the one before]", show_default=False),
    ] = None,
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Put an older version back in service, as a new version. Of the configuration, reads `push`."""
    from pipeline.serving import rollback as roll_back

    result = roll_back(root, load(config, set_), to)
    if as_json:
        typer.echo(json.dumps(result))
    elif result["reused"]:
        typer.echo(f"Version {result['version']} is in service, nothing to do: {result['path']}")
    else:
        what = f"version {result['restores']} in place of {result['was']}"
        typer.echo(f"Version {result['version']} is in service: {what}: {result['path']}")
