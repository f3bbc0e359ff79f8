"""The command line. Imports nothing heavy: `--help` must come at once."""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from schemas import interrupts
from schemas.errors import NOT_PUSHED_EXIT_CODE, ClickrankError, InputDataError, recover

app = typer.Typer(
    name="clickrank",
    help="Raw click logs to a wide & deep ranking model that goes out only if it earned it by MAP@12.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 2 usage or config; 3 bad input data, or features that leak; 4 ran, but nothing was pushed; "
    "5 a remote service failed; 75 transient, or a training that was told to stop and saved itself: run again; "
    "130 or 143 stopped by SIGINT or SIGTERM.",
)
config_app = typer.Typer(help="Show the configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")
bench_app = typer.Typer(help="Measure what things cost on this machine.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option("--config", "-c", metavar="FILE", help="YAML file; repeat it, later ones win.", show_default=False),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set path.to.key=VALUE on top of the files.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, last on stdout.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Leave the libraries' own messages on the screen.")]


@app.command()
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


@app.command()
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
    from pipeline.config import load_config
    from pipeline.run import run as run_all
    from schemas.errors import ConfigError

    if runner not in ("beam", "local"):
        raise ConfigError(f"--runner is beam or local. Received: {runner!r}")
    loaded = load_config(config or (), set_ or ())
    summary = run_all(data, root, loaded, runner=runner, from_node=from_node, resume=resume, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(summary))
    if summary["pushed_version"] is None:
        raise typer.Exit(NOT_PUSHED_EXIT_CODE)


@app.command()
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
    from pipeline.config import load_config
    from pipeline.jobs import choose_run_id
    from pipeline.step import run_step

    loaded = load_config(config or (), set_ or ())
    result = run_step(node_id, data, root, choose_run_id(root, run_id, job), loaded, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(result))
    if result["summary"] and result["summary"]["pushed_version"] is None:
        raise typer.Exit(NOT_PUSHED_EXIT_CODE)


@app.command()
def compile(
    out: Annotated[Path, typer.Argument(help="File to write, .yaml.")],
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Compile the pipeline for Kubeflow Pipelines: a step for each node, which runs `clickrank node` in the project's image."""
    from pipeline.config import load_config
    from pipeline.noise import log_to

    loaded = load_config(config or (), set_ or ())
    with tempfile.TemporaryDirectory(prefix="clickrank-compile-") as temporary, log_to(Path(temporary) / "log.txt", verbose):
        from pipeline.kubeflow.compile import compile_pipeline

        steps = compile_pipeline(out, loaded)
    if as_json:
        typer.echo(json.dumps({"path": str(out), "nodes": steps}))
    else:
        typer.echo(f"{len(steps)} steps: {out}")


@app.command()
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
    from pipeline.config import load_config
    from pipeline.noise import log_to

    given = {"endpoint": endpoint, "experiment": experiment, "namespace": namespace}
    settings = [*(set_ or ()), *(f"kubeflow.api.{key}={json.dumps(value)}" for key, value in given.items() if value is not None)]
    loaded = load_config(config or (), settings)
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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


@app.command()
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
    from pipeline.config import load_config
    from pipeline.predict import predict as predict_all

    ingest = load_config(config or (), set_ or ()).ingest
    result = predict_all(model, data, out, ingest, submission=submission, verbose=verbose)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        typer.echo(f"{result['rows']:,} ads of {result['displays']:,} displays scored by version {result['version']}: {out}")


@app.command()
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
    from pipeline.config import load_config
    from pipeline.serving import rollback as roll_back

    result = roll_back(root, load_config(config or (), set_ or ()), to)
    if as_json:
        typer.echo(json.dumps(result))
    elif result["reused"]:
        typer.echo(f"Version {result['version']} is in service, nothing to do: {result['path']}")
    else:
        what = f"version {result['restores']} in place of {result['was']}"
        typer.echo(f"Version {result['version']} is in service: {what}: {result['path']}")


@app.command()
def versions(
    root: Annotated[Path, typer.Option(help="Folder of the runs whose versions these are.")],
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
) -> None:
    """List the pushed versions: number, digest, when (UTC), MAP@12 of its run, and which is in service."""
    from pipeline.config import load_config
    from pipeline.serving import line, list_versions

    listed = list_versions(root, load_config(config or (), set_ or ()))
    if as_json:
        typer.echo(json.dumps({"versions": listed}))
        return
    for version in listed:
        typer.echo(line(version))


@app.command()
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
    from pipeline.config import load_config
    from pipeline.features import features as make_features

    result = make_features(data, out, load_config(config or (), set_ or ()), columns=column or (), audit=audit, verbose=verbose)
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


@app.command()
def stability(
    root: Annotated[Path, typer.Option(help="Folder where the pipeline has run; its latest records are trained on.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from trainer.seed on.")] = 6,
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Train with several seeds and say how much MAP@12 depends on them. Nothing is exported."""
    from pipeline.config import load_config
    from pipeline.noise import log_to
    from pipeline.stability import check_has_run
    from pipeline.stability import stability as measure

    loaded = load_config(config or (), set_ or ())
    check_has_run(root)  # before a log is made there
    with log_to(root / "stability.log", verbose) as screen:
        result = measure(root, loaded, seeds, lambda seed, value: screen.write(f"seed {seed:<6} MAP@12 {value:.4f}\n"))
    if as_json:
        typer.echo(json.dumps(result))
    else:
        deviation = result["standard_deviation"]
        shown = "" if deviation is None else f", standard deviation {deviation:.4f}"
        typer.echo(f"MAP@12 of {seeds} seeds: mean {result['mean']:.4f}{shown}, min {result['min']:.4f}, max {result['max']:.4f}")


@config_app.command("show")
def config_show(config: ConfigFiles = None, set_: Settings = None, as_json: AsJson = False) -> None:
    """Print the whole configuration after files and --set, as YAML."""
    from pipeline.config import load_config, to_yaml

    loaded = load_config(config or (), set_ or ())
    typer.echo(loaded.model_dump_json() if as_json else to_yaml(loaded).rstrip())


@config_app.command("schema")
def config_schema(as_json: AsJson = False) -> None:
    """Print every key with its type, default, bounds and meaning, as JSON Schema."""
    from schemas.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=None if as_json else 1))


@app.command()
def doctor(
    root: Annotated[Path, typer.Option(help="Folder whose file system is checked.")] = Path(),
    config: ConfigFiles = None,
    set_: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Check that this machine can run the pipeline, and that the configuration is sound."""
    from pipeline.config import load_config
    from pipeline.doctor import examine

    checks = examine(root, load_config(config or (), set_ or ()))
    sound = all(check.passed for check in checks)
    if as_json:
        typer.echo(json.dumps({"sound": sound, "checks": [check._asdict() for check in checks]}))
    else:
        for check in checks:
            typer.echo(f"{'ok  ' if check.passed else 'FAIL'}  {check.name:<26} {check.found}")
    if not sound:
        raise typer.Exit(2)


@app.command("worker-pool")
def worker_pool(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Whoever reaches it runs code here: 0.0.0.0 in a closed network only.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65_535)] = 50_000,
) -> None:
    """Run Beam's external worker pool: the workers of a runner that is elsewhere, such as Flink. Until Ctrl-C or SIGTERM."""
    from pipeline.worker_pool import serve

    serve(host, port, lambda line: typer.echo(line, err=True))


@bench_app.command("features")
def bench_features(
    page_views: Annotated[
        list[int] | None,
        typer.Option(min=20, help="Size of a synthetic log; repeatable. [default: 400,000, 2 and 10 million]", show_default=False),
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(help="Folder that keeps the logs for the next time. [default: none]", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure feature engineering beside the same core written by hand in polars and duckdb (needs the dev packages)."""
    from benchmarks.features import PAGE_VIEWS, measure, table

    results = measure(page_views or PAGE_VIEWS, logs, lambda result: typer.echo(table([result]).splitlines()[1], err=True))
    typer.echo(json.dumps({"results": [result._asdict() for result in results]}) if as_json else table(results))


@bench_app.command("input")
def bench_input(
    rows: Annotated[
        int, typer.Option(min=1, help="Rows of an epoch; about 0.2 GB a million, in the temporary folder.")
    ] = 4_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="Epochs to time; the fastest counts.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure how fast training rows are read: our records beside prebatched and plain tf.Examples."""
    from benchmarks.input import measure, summary, table

    outcome = measure(rows, rounds=rounds, done=lambda result: typer.echo(table([result]).splitlines()[1], err=True))
    typer.echo(json.dumps(outcome) if as_json else summary(outcome))


@bench_app.command("step")
def bench_step(
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Rows of a step; repeatable. [default: 4096, 16384]", show_default=False)
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which contenders take turns; the median counts.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Measure one step of training of the full-size model beside tf_keras and PyTorch (about 9 GB of memory)."""
    from benchmarks.step import BATCHES, measure, summary, table

    outcome = measure(batch or BATCHES, rounds, done=lambda result: typer.echo(table([result]).splitlines()[1], err=True))
    typer.echo(json.dumps(outcome) if as_json else summary(outcome))


@bench_app.command("evaluate")
def bench_evaluate(
    rows: Annotated[int, typer.Option(min=100, help="Eval rows; about 1.5 GB for a million, in the temporary folder.")] = 1_000_000,
    tfma_rows: Annotated[int, typer.Option(min=100, help="Rows on which TFMA's own evaluation runs beside.")] = 50_000,
    as_json: AsJson = False,
) -> None:
    """Measure the Evaluator beside TFMA's own row path, and that both give the same numbers (two full-size models)."""
    from benchmarks.evaluate import measure, summary, table

    outcome = measure(rows, tfma_rows, lambda result: typer.echo(table([result]).splitlines()[1], err=True))
    typer.echo(json.dumps(outcome) if as_json else summary(outcome))


def main() -> NoReturn:
    """Runs the command line and leaves with the exit code that says how it ended."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        app(standalone_mode=True)
    except BaseException as error:
        if _signals:
            _end(_signals[0])
        known = recover(error)
        if known is None:
            raise
        _fail(known)
    sys.exit(0)


_signals: list[int] = []
"""What came. Libraries turn the exception into others of their own, so the way out goes by this."""


class _Stopped(BaseException):
    """SIGINT or SIGTERM came. Not a KeyboardInterrupt: typer would end the program by itself, without a word."""


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # should the way out take long, the same signal again ends it at once
    if number == signal.SIGTERM and interrupts.request_stop():
        return  # a training: it saves itself, and ends the run by an error of its own
    _signals.append(number)
    raise _Stopped(number)


def _end(number: int) -> NoReturn:
    name = signal.Signals(number).name
    _report(f"stopped by {name}; {interrupts.last_words()}", 128 + number)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)  # threads may be deep in a node's work: an orderly exit would wait for them, or crash on them


def _fail(error: ClickrankError) -> NoReturn:
    _report(str(error), error.exit_code)
    sys.exit(error.exit_code)


def _report(message: str, code: int) -> None:
    typer.echo(f"error: {message}", err=True)
    if "--json" in sys.argv:
        result: dict[str, Any] = {"error": message, "exit_code": code}
        typer.echo(json.dumps(result))


if __name__ == "__main__":
    main()
