"""Starts the processes of a local cluster and watches over them. Imports no TensorFlow."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from components.trainer.cluster import TF_CONFIG, Cluster
from components.trainer.work_dir import read_error
from schemas.errors import ClickrankError, TransientError

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the top-level packages."""

_POLL_S = 0.1
_LAST_LINES = 3


def launch(
    command: Sequence[str],
    clusters: Sequence[Cluster],
    work_dir: Path,
    start_timeout_s: float,
    on_poll: Callable[[], None] = lambda: None,
    stop_requested: Callable[[], bool] = lambda: False,
    max_replacements: int = 0,
) -> None:
    """Runs one process for each cluster member until all have ended well; with parameter servers, until the chief has.

    A process's TF_CONFIG names its cluster. It logs to `NAME.log` in `work_dir`, where NAME is its cluster's `name`, creates
    `NAME.ready` there once it is part of the cluster, and may leave an error (`components.trainer.work_dir`). Its stdin ends when
    this process does, however that ends.

    Args:
        command: The same for all processes.
        clusters: One for each process, in order.
        work_dir: A folder without such files.
        start_timeout_s: Seconds until all processes must be ready.
        on_poll: Called several times a second.
        stop_requested: Whether to send the chief a SIGTERM, on which it saves, leaves an error and ends.
        max_replacements: How many workers that a signal killed are started again at their address, where the others do not fail
            with them: with parameter servers.

    Raises:
        ClickrankError: A process failed; of the type and with the message that it left, else with its last log lines.
        TransientError: A process was killed by a signal, or not all were ready in time.

    Whatever is raised, no process is left running.
    """
    environment = _environment(len(clusters))
    deadline = time.monotonic() + start_timeout_s
    processes: list[subprocess.Popen[bytes]] = []
    stopping, replaced = False, 0
    try:
        processes += [_start(command, environment, cluster, work_dir) for cluster in clusters]
        logger.info("started %d workers: %s", len(processes), ", ".join(str(p.pid) for p in processes))
        while True:
            codes = [process.poll() for process in processes]
            failed = {i: code for i, code in enumerate(codes) if code}
            if failed:
                # One failure makes the others fail, too: a signal or a message of its own tells the cause.
                cause = min(failed, key=lambda i: (read_error(work_dir, clusters[i].name) is None, failed[i] > 0))
                if not _is_replaceable(clusters[cause], failed[cause]) or replaced == max_replacements:
                    raise _failure(work_dir, clusters[cause], failed[cause])
                replaced += 1
                logger.warning("%s; replacement %d of %d", _killed(clusters[cause], failed[cause]), replaced, max_replacements)
                processes[cause].communicate()
                processes[cause] = _start(command, environment, clusters[cause], work_dir)
                continue
            if None not in (codes[:1] if clusters[0].servers else codes):
                break
            ready = sum((work_dir / f"{cluster.name}.ready").exists() for cluster in clusters)
            if ready < len(processes) and time.monotonic() > deadline:
                raise TransientError(
                    f"only {ready} of {len(processes)} workers were ready within trainer.start_timeout_s = {start_timeout_s:g} s"
                )
            if stop_requested() and not stopping:
                processes[0].send_signal(signal.SIGTERM)
                stopping = True
            on_poll()
            time.sleep(_POLL_S)
        on_poll()
    finally:
        for process in processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()


def _start(command: Sequence[str], environment: dict[str, str], cluster: Cluster, work_dir: Path) -> subprocess.Popen[bytes]:
    with open(work_dir / f"{cluster.name}.log", "ab") as log:
        return subprocess.Popen(
            command,
            env={**environment, TF_CONFIG: cluster.tf_config()},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group of its own, to be killed with its children
        )


def _is_replaceable(cluster: Cluster, code: int) -> bool:
    return bool(cluster.servers) and cluster.task[0] == "worker" and code < 0


def launch_until_done(attempt: Callable[[], None], max_restarts: int, backoff_s: float, stop_requested: Callable[[], bool]) -> None:
    """Calls `attempt`, and again when workers were lost, after a pause that doubles each time.

    Raises:
        TransientError: Workers were lost once more than `max_restarts`, or it was asked to stop.
        ClickrankError: Whatever else `attempt` raised.
    """
    for restart in range(max_restarts + 1):
        try:
            return attempt()
        except TransientError as error:
            if restart == max_restarts or stop_requested():
                raise
            pause = backoff_s * 2**restart
            logger.warning("%s; restart %d of %d in %g s, from the last checkpoint", error, restart + 1, max_restarts, pause)
            time.sleep(pause)


def _failure(work_dir: Path, cluster: Cluster, code: int) -> ClickrankError:
    left = read_error(work_dir, cluster.name)
    if left:
        return left
    lines = (work_dir / f"{cluster.name}.log").read_text(errors="replace").splitlines()
    last = " | ".join([line.strip() for line in lines if line.strip()][-_LAST_LINES:]) or "nothing logged"
    if code < 0:
        return TransientError(f"{_killed(cluster, code)}; its last lines: {last}")
    return ClickrankError(f"{_spoken(cluster)} failed with exit code {code}; its last lines: {last}")


def _killed(cluster: Cluster, code: int) -> str:
    return f"{_spoken(cluster)} was killed by {signal.Signals(-code).name}"


def _spoken(cluster: Cluster) -> str:
    return "training {} {}".format(*cluster.task)


def _environment(workers: int) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    return {"TF_NUM_INTRAOP_THREADS": threads, **os.environ, "PYTHONPATH": path, "TF_USE_LEGACY_KERAS": "1"}


def main_command(*args: str) -> list[str]:
    """Returns the command line of a worker."""
    return [sys.executable, "-m", "components.trainer.worker", *args]
