"""Commands that measure what things cost on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import AsJson

app = typer.Typer(help="Measure what things cost on this machine.", no_args_is_help=True)


@app.command("features")
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


@app.command("input")
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


@app.command("step")
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


@app.command("evaluate")
def bench_evaluate(
    rows: Annotated[int, typer.Option(min=100, help="Eval rows; about 1.5 GB for a million, in the temporary folder.")] = 1_000_000,
    tfma_rows: Annotated[int, typer.Option(min=100, help="Rows on which TFMA's own evaluation runs beside.")] = 50_000,
    as_json: AsJson = False,
) -> None:
    """Measure the Evaluator beside TFMA's own row path, and that both give the same numbers (two full-size models)."""
    from benchmarks.evaluate import measure, summary, table

    outcome = measure(rows, tfma_rows, lambda result: typer.echo(table([result]).splitlines()[1], err=True))
    typer.echo(json.dumps(outcome) if as_json else summary(outcome))
