"""Commands that bring the pipeline to Kubeflow Pipelines."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import AsJson, ConfigFiles, Settings, Verbose, load
from schemas.errors import NOT_PUSHED_EXIT_CODE


def compile(
    out: Annotated[Path, typer.Argument(help="File to write, .yaml.")],
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines: a step for each node, which runs `clickrank node` in the project's image."""
    from pipeline.noise import log_to

    loaded = load(config, set_)
    with tempfile.TemporaryDirectory(prefix="clickrank-compile-") as temporary, log_to(Path(temporary) / "log.txt", verbose):
        from pipeline.kubeflow.compile import compile_pipeline

        steps = compile_pipeline(out, loaded)
    if as_json:
        typer.echo(json.dumps({"path": str(out), "nodes": steps}))
    else:
        typer.echo(f"{len(steps)} steps: {out}")


def submit(
    data: Annotated[str, typer.Argument(help="Folder with the raw tables, as a pod sees it.")],
    root: Annotated[str, typer.Option(help="Folder for everything the runs make, as a pod sees it.")],
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Kubeflow Pipelines' API. [default: kubeflow.api.endpoint]", show_default=False),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    run_id: Annotated[
        str | None,
        typer.Option(help="Name of the run, YYYYMMDD-HHMMSS-NAME; once more, the same run. [default: new]", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name on Kubeflow, of a run whose id its steps shall make, or of a recurring run.", show_default=False),
    ] = None,
    cron: Annotated[
        str | None,
        typer.Option(metavar="'0 3 * * *'", help="Make a recurring run: minute, hour, day, month, weekday.", show_default=False),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="[default: kubeflow.api.experiment]", show_default=False)
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="[default: kubeflow.api.namespace]", show_default=False)
    ] = None,
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Compile the pipeline and run it on Kubeflow Pipelines. Its token is in CLICKRANK_KUBEFLOW_TOKEN, or where a pod has it."""
    from pipeline.noise import log_to

    given = {"endpoint": endpoint, "experiment": experiment, "namespace": namespace}
    settings = [*(set_ or ()), *(f"kubeflow.api.{key}={json.dumps(value)}" for key, value in given.items() if value is not None)]
    loaded = load(config, settings)
    with (
        tempfile.TemporaryDirectory(prefix="clickrank-submit-") as temporary,
        log_to(Path(temporary) / "log.txt", verbose) as screen,
    ):
        from pipeline.kubeflow.submit import submit as submit_all

        result = submit_all(data, root, loaded, screen, run_id=run_id, name=name, cron=cron, wait=wait)
    if as_json:
        typer.echo(json.dumps(result))
    if result["refused"]:
        raise typer.Exit(NOT_PUSHED_EXIT_CODE)
