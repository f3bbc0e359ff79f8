"""Commands that run the pipeline, or a part of it, on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import AsJson, ConfigFiles, Settings, Verbose, load
from schemas.errors import NOT_PUSHED_EXIT_CODE


def run(
    data: Annotated[Path, typer.Argument(help="Folder with the raw tables (.csv, .csv.gz or .csv.zip).")],
    root: Annotated[
        Path, typer.Option(help="Folder for everything the runs make; runs at one root share cache and blessed models.")
    ],
    config: ConfigFiles = None,
    set_: Settings = None,
    runner: Annotated[str, typer.Option(help="beam (TFX's BeamDagRunner) or local (TFX's LocalDagRunner).")] = "beam",
    from_node: Annotated[
        str | None,
        typer.Option(metavar="NODE", help="Start at this node, with the outputs of the latest run before it.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on with a training that was stopped or killed, from its last checkpoint, or start over.")
    ] = True,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run the pipeline: raw tables in, a pushed model or a refusal with reasons out."""
    from pipeline.run import run as run_all
    from schemas.errors import ConfigError

    if runner not in ("beam", "local"):
        raise ConfigError(f"--runner is beam or local. Received: {runner!r}")
    loaded = load(config, set_)
    summary = run_all(data, root, loaded, runner=runner, from_node=from_node, resume=resume, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(summary))
    if summary["pushed_version"] is None:
        raise typer.Exit(NOT_PUSHED_EXIT_CODE)


def node(
    node_id: Annotated[str, typer.Argument(help="The node, as `clickrank run` names it on the screen.")],
    data: Annotated[Path, typer.Argument(help="Folder with the raw tables; ClickExampleGen alone reads them.")],
    root: Annotated[Path, typer.Option(help="Folder for everything the runs make, as of `clickrank run`.")],
    run_id: Annotated[
        str | None,
        typer.Option(help="Name of the run, YYYYMMDD-HHMMSS-NAME; the same for all its nodes.", show_default=False),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(
            help="In place of --run-id: an orchestrator's name of the run. The first node makes the id.", show_default=False
        ),
    ] = None,
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run one node of a run, after those before it; once more does no harm. All of them come to what `clickrank run` comes to."""
    from pipeline.jobs import choose_run_id
    from pipeline.step import run_step

    loaded = load(config, set_)
    result = run_step(node_id, data, root, choose_run_id(root, run_id, job), loaded, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(result))
    if result["summary"] and result["summary"]["pushed_version"] is None:
        raise typer.Exit(NOT_PUSHED_EXIT_CODE)


def rerun(
    run_id: Annotated[str, typer.Argument(help="A run that went through, named as its folder in ROOT/runs.")],
    root: Annotated[Path, typer.Option(help="Folder where it ran.")],
    data: Annotated[
        Path | None, typer.Option(help="Where its raw tables are now. [default: where they were]", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option(help="Go on with a training that was stopped or killed, from its last checkpoint, or start over.")
    ] = True,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Run a run again, from the same data by the same configuration, and say whether it comes to the same."""
    from pipeline.rerun import rerun as rerun_all

    summary = rerun_all(root, run_id, data, resume=resume, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(summary))
    if summary["pushed_version"] is None:
        raise typer.Exit(NOT_PUSHED_EXIT_CODE)


def stability(
    root: Annotated[Path, typer.Option(help="Folder where the pipeline has run; its latest records are trained on.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from trainer.seed on.")] = 6,
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Train with several seeds and say how much MAP@12 depends on them. Nothing is exported."""
    from pipeline.noise import log_to
    from pipeline.stability import check_has_run
    from pipeline.stability import stability as measure

    loaded = load(config, set_)
    check_has_run(root)  # before a log is made there
    with log_to(root / "stability.log", verbose) as screen:
        result = measure(root, loaded, seeds, lambda seed, value: screen.write(f"seed {seed:<6} MAP@12 {value:.4f}\n"))
    if as_json:
        typer.echo(json.dumps(result))
    else:
        deviation = result["standard_deviation"]
        shown = "" if deviation is None else f", standard deviation {deviation:.4f}"
        typer.echo(f"MAP@12 of {seeds} seeds: mean {result['mean']:.4f}{shown}, min {result['min']:.4f}, max {result['max']:.4f}")


def worker_pool(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Whoever reaches it runs code here: 0.0.0.0 in a closed network only.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65_535)] = 50_000,
) -> None:
    """Run Beam's external worker pool: the workers of a runner that is elsewhere, such as Flink. Until Ctrl-C or SIGTERM."""
    from pipeline.worker_pool import serve

    serve(host, port, lambda line: typer.echo(line, err=True))
