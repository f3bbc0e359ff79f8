"""The command line. Imports nothing heavy: `--help` must come at once."""

import json
import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import typer

from pipeline.commands import bench, data, kubeflow, models, results, runs, setup
from schemas import interrupts
from schemas.errors import ClickrankError, recover

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
COMMANDS = {
    "Run the pipeline": (runs.run, runs.node, runs.rerun, kubeflow.compile, kubeflow.submit, runs.worker_pool),
    "Look at runs": (results.report, results.dashboard, results.track, runs.stability),
    "Models": (models.predict, models.versions, models.rollback),
    "Data": (data.synth, data.features),
}
MACHINE = "This machine, and the configuration"
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command(rich_help_panel=MACHINE)(setup.doctor)
app.add_typer(setup.app, name="config", rich_help_panel=MACHINE)
app.add_typer(bench.app, name="bench", rich_help_panel=MACHINE)


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
