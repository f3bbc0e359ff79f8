"""Commands that make data: a synthetic log, features."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import AsJson, ConfigFiles, Settings, Verbose, load
from schemas.errors import InputDataError


def synth(
    out: Annotated[Path, typer.Argument(help="New folder for the nine CSV files.")],
    displays: Annotated[int, typer.Option(help="Labelled displays; about 37 % more are made for the test table.")] = 20_000,
    users: Annotated[int | None, typer.Option(help="Users. (default: follows displays)", show_default=False)] = None,
    documents: Annotated[int | None, typer.Option(help="Documents. (default: follows displays)", show_default=False)] = None,
    ads: Annotated[int | None, typer.Option(help="Ads. (default: follows displays)", show_default=False)] = None,
    page_views: Annotated[int | None, typer.Option(help="Page views. (default: 20 a display)", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a click log in the Outbrain format whose best possible MAP@12 is known."""
    from pipeline.synth import generate

    truth = generate(out, displays=displays, users=users, documents=documents, ads=ads, page_views=page_views, seed=seed)
    if as_json:
        typer.echo(json.dumps({"path": str(out), **truth}))
        return
    for table, rows in truth["counts"].items():
        typer.echo(f"{rows:>12,} rows  {out / table}.csv")
    typer.echo(f"MAP@12: best possible {truth['best_map_at_12']:.4f}, random {truth['random_map_at_12']:.4f}")


def features(
    data: Annotated[Path, typer.Argument(help="Folder with the raw tables (.csv, .csv.gz or .csv.zip).")],
    out: Annotated[Path, typer.Argument(help="Folder to make for the Parquet files, the counts and the bad rows.")],
    config: ConfigFiles = None,
    set_: Settings = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute this column only, with display_id, ad_id and label; repeatable. [default: all]", show_default=False
        ),
    ] = None,
    audit: Annotated[
        bool, typer.Option("--audit", help="Look for leaks: in the log, and features that know their own train label (exit 3).")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make the features alone, as the pipeline does: Parquet by split, one row for each display and ad."""
    from pipeline.features import features as make_features

    result = make_features(data, out, load(config, set_), columns=column or (), audit=audit, verbose=verbose)
    failed = result["audit"]["failed"] if result["audit"] else []
    if failed:
        error = InputDataError(
            f"these features rank train rows better than eval rows, so they leak: {', '.join(failed)}; the features are in {out}"
        )
        typer.echo(f"error: {error}", err=True)
        result |= {"error": str(error), "exit_code": error.exit_code}
    if as_json:
        typer.echo(json.dumps(result))
    if failed:
        raise typer.Exit(InputDataError.exit_code)
