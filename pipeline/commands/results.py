"""Commands about what a run left."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import AsJson, Verbose


def report(
    root: Annotated[Path, typer.Option(help="Folder where the pipeline has run.")],
    run: Annotated[str | None, typer.Option(metavar="ID", help="The run. [default: the latest]", show_default=False)] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make the report of a run: one HTML file, to be opened offline."""
    from pipeline.report.write import report as write

    path = write(root, run, verbose=verbose)
    if as_json:
        typer.echo(json.dumps({"report": str(path)}))
    else:
        typer.echo(str(path))
    if open_:
        typer.launch(path.as_uri())


def dashboard(
    root: Annotated[Path, typer.Option(help="Folder where the pipeline has run.")],
    run: Annotated[str | None, typer.Option(metavar="ID", help="The run. [default: the latest]", show_default=False)] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in Jupyter.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make a notebook with TFMA's and TFDV's own widgets of a run. They load scripts from the network; `report` does not."""
    from pipeline.dashboard.launch import open_notebook, write_notebook

    path = write_notebook(root, run)
    typer.echo(json.dumps({"notebook": str(path)}) if as_json else str(path))
    if open_:
        open_notebook(path)


def track(
    root: Annotated[Path, typer.Option(help="Folder where the pipeline has run.")],
    run: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Send this run, also again. [default: all that could not be sent]", show_default=False),
    ] = None,
    mlflow_uri: Annotated[
        str | None, typer.Option(metavar="URI", help="Server. [default: that of the run's configuration]", show_default=False)
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="MLflow's experiment. [default: likewise]", show_default=False)
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Send finished runs to MLflow that could not be sent when they ended."""
    from pipeline.tracking.track import track as send

    sent = send(root, run, mlflow_uri, experiment, verbose=verbose)
    if as_json:
        typer.echo(json.dumps({"sent": sent}))
    elif sent:
        typer.echo("\n".join(f"{one['run_id']}: {one['url']}" for one in sent))
    else:
        typer.echo("Nothing to send.")
