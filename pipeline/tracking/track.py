"""Keeps what is to be sent of a run in its folder, sends it, and notes that it was sent."""

import fcntl
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config import load_config
from pipeline.console import RunConsole
from pipeline.noise import log_to
from pipeline.paths import RootPaths
from pipeline.report.write import choose_run
from pipeline.siblings import write_whole
from pipeline.tracking.payload import Payload, make_payload
from pipeline.tracking.send import Sent, send
from schemas.config import TrackingConfig
from schemas.errors import ConfigError

_log = logging.getLogger(__name__)


def track_run(paths: RootPaths, run_id: str, tracking: TrackingConfig, console: RunConsole) -> str | None:
    """Sends a run that has just ended, if it is to be; returns the address of the page that shows it.

    Whatever goes wrong is a warning: the run is not lost for it, and what was to be sent stays in its folder.
    """
    if tracking.mlflow_uri is None:
        return None
    try:
        sent = send_once(paths, run_id, tracking)
    except Exception as error:
        logging.error("The run was not sent to MLflow", exc_info=error)
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        console.say(f"warning: not tracked: {first}; `clickrank track --root {paths.root}` sends it later", style="yellow")
        return None
    console.say(f"MLflow: {sent.url}")
    return sent.url


def track(root: Path, run_id: str | None, uri: str | None, experiment: str | None, *, verbose: bool) -> list[dict[str, str]]:
    """Sends the runs of a root that were to be sent and were not, or the one that is asked for.

    Args:
        root: Where the runs were.
        run_id: The run to send, whether it was sent before or not.
        uri: The server, if not that of the run's configuration.
        experiment: The experiment, likewise.
        verbose: Whether the libraries' own messages stay on the screen.

    Returns:
        For each run that was sent its `run_id`, and where it went: see `Sent`.

    Raises:
        ConfigError: There is no such run, or it did not come to its end; there is no server to send to.
        RemoteError: See `pipeline.tracking.send.send`.
    """
    paths = RootPaths(root.absolute())
    chosen = choose_run(paths, run_id)
    done = []
    with tempfile.TemporaryDirectory(prefix="clickrank-track-") as temporary, log_to(Path(temporary) / "log.txt", verbose):
        for one in [chosen] if run_id else _unsent(paths):
            sent = send_once(paths, one, _where(paths, one, uri, experiment), again=run_id is not None)
            done.append({"run_id": one, **asdict(sent)})
    return done


def send_once(paths: RootPaths, run_id: str, tracking: TrackingConfig, *, again: bool = False) -> Sent:
    """Sends a run unless it was sent; two processes at once do not send it twice.

    Args:
        paths: The root.
        run_id: The run.
        tracking: Where to.
        again: Whether to send it though it was sent.

    Raises:
        ClickrankError: See `make_payload` and `send`; what was to be sent is then in the run's folder.
    """
    with _alone(paths.run(run_id)):
        kept = _read(paths, run_id)
        if kept is None:
            kept = {"sent": None, "payload": make_payload(paths, run_id).to_json()}
            _write(paths, run_id, kept)
        if kept["sent"] and not again:
            return Sent(**kept["sent"])
        sent = send(Payload.from_json(kept["payload"]), paths.root, tracking)
        _write(paths, run_id, kept | {"sent": asdict(sent)})
        return sent


def _where(paths: RootPaths, run_id: str, uri: str | None, experiment: str | None) -> TrackingConfig:
    settings = [f"tracking.{key}={json.dumps(value)}" for key, value in (("mlflow_uri", uri), ("experiment", experiment)) if value]
    return load_config([paths.run(run_id) / "config.resolved.yaml"], settings).tracking


def _unsent(paths: RootPaths) -> list[str]:
    runs = sorted(file.parent.name for file in paths.runs.glob(f"*/{paths.tracking('').name}"))
    return [run_id for run_id in runs if not (_read(paths, run_id) or {}).get("sent")]


def _read(paths: RootPaths, run_id: str) -> dict[str, Any] | None:
    path = paths.tracking(run_id)
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
        Payload.from_json(kept["payload"])
        return kept
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; remove it, and it is made anew") from error


def _write(paths: RootPaths, run_id: str, kept: dict[str, Any]) -> None:
    write_whole(paths.tracking(run_id), json.dumps(kept, indent=1) + "\n")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits for whoever else is sending the run of this folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
