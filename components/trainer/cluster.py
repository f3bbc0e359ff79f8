"""Clusters of training workers: what TF_CONFIG says, and the launcher of local ones. Imports no TensorFlow.

The format of TF_CONFIG: https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable
"""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas import errors
from schemas.errors import ClickrankError, ConfigError, TransientError

logger = logging.getLogger(__name__)

TF_CONFIG = "TF_CONFIG"
ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the top-level packages."""

_POLL_S = 0.1
_LAST_LINES = 3


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that a process belongs to.

    Attributes:
        workers: `host:port` of all workers, the chief first.
        index: This process's place among them; 0 is the chief.
    """

    workers: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the results."""
        return self.index == 0

    def tf_config(self) -> str:
        """Returns the value of TF_CONFIG for this process."""
        return json.dumps({"cluster": {"worker": list(self.workers)}, "task": {"type": "worker", "index": self.index}})


def parse_tf_config(text: str) -> Cluster:
    """Reads the value of TF_CONFIG: tasks of the types `worker` and, at most one, `chief` (or `master`). Other keys are ignored.

    Raises:
        ConfigError: It is no such JSON, an address is no `host:port` or occurs twice, or the task is not in the cluster.
    """
    try:
        config = json.loads(text)
        tasks: dict[str, list[str]] = dict(config["cluster"])
        kind, index = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"TF_CONFIG is malformed: {type(error).__name__}: {error}. Received: {text}") from error
    unknown = tasks.keys() - {"chief", "master", "worker"}
    if unknown:
        raise ConfigError(f"TF_CONFIG: only workers and a chief can train together. Received: {', '.join(sorted(unknown))}")
    chiefs = [*tasks.get("chief", ()), *tasks.get("master", ())]
    workers = (*chiefs, *tasks.get("worker", ()))
    if not workers or len(chiefs) > 1 or len(set(workers)) != len(workers):
        raise ConfigError(f"TF_CONFIG: a cluster is distinct workers and at most one chief. Received: {tasks}")
    for address in workers:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"TF_CONFIG: an address is host:port. Received: {address!r}")
    if not 0 <= index < len(tasks.get(kind, ())):
        raise ConfigError(f"TF_CONFIG: task {kind}:{index} is not in the cluster. Received: {tasks}")
    return Cluster(workers, index + (len(chiefs) if kind == "worker" else 0))


def local_cluster(workers: int) -> tuple[Cluster, ...]:
    """Returns the clusters of `workers` processes on this machine, on ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]  # all open at once: distinct ports
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        addresses = tuple(f"127.0.0.1:{bound.getsockname()[1]}" for bound in sockets)
    return tuple(Cluster(addresses, index) for index in range(workers))


def launch(
    command: Sequence[str],
    clusters: Sequence[Cluster],
    work_dir: Path,
    start_timeout_s: float,
    on_poll: Callable[[], None] = lambda: None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> None:
    """Runs one process for each cluster member until all have ended well.

    A worker's TF_CONFIG names its cluster. It logs to `worker-I.log` in `work_dir`, creates `worker-I.ready` there once the cluster
    has formed, and may leave `worker-I.error` (see `write_error`). Its stdin ends when this process does, however that ends.

    Args:
        command: The same for all workers.
        clusters: One for each worker, in order.
        work_dir: An empty folder.
        start_timeout_s: Seconds until all workers must be ready.
        on_poll: Called several times a second.
        stop_requested: Whether to send the chief a SIGTERM, on which it saves, leaves an error and ends.

    Raises:
        ClickrankError: A worker failed; of the type and with the message that it left, else with its last log lines.
        TransientError: A worker was killed by a signal, or not all were ready in time.

    Whatever is raised, no worker is left running.
    """
    environment = _environment(len(clusters))
    deadline = time.monotonic() + start_timeout_s
    processes: list[subprocess.Popen[bytes]] = []
    stopping = False
    try:
        for cluster in clusters:
            with open(work_dir / f"worker-{cluster.index}.log", "wb") as log:
                process = subprocess.Popen(
                    command,
                    env={**environment, TF_CONFIG: cluster.tf_config()},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a process group of its own, to be killed with its children
                )
            processes.append(process)
        logger.info("started %d workers: %s", len(processes), ", ".join(str(p.pid) for p in processes))
        while True:
            codes = [process.poll() for process in processes]
            failed = {i: code for i, code in enumerate(codes) if code}
            if failed:
                # One failure makes the others fail, too: a signal or a message of its own tells the cause.
                cause = min(failed, key=lambda i: (not (work_dir / f"worker-{i}.error").exists(), failed[i] > 0))
                raise _failure(work_dir, cause, failed[cause])
            if None not in codes:
                break
            ready = sum((work_dir / f"worker-{i}.ready").exists() for i in range(len(processes)))
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


def write_error(work_dir: Path, index: int, error: ClickrankError) -> None:
    """Leaves a worker's error for `launch` to raise."""
    (work_dir / f"worker-{index}.error").write_text(json.dumps([type(error).__name__, str(error)]))


def _failure(work_dir: Path, index: int, code: int) -> ClickrankError:
    left = work_dir / f"worker-{index}.error"
    if left.exists():
        name, message = json.loads(left.read_text())
        kind = getattr(errors, name, ClickrankError)
        return kind(message)
    lines = (work_dir / f"worker-{index}.log").read_text(errors="replace").splitlines()
    last = " | ".join([line.strip() for line in lines if line.strip()][-_LAST_LINES:]) or "nothing logged"
    if code < 0:
        return TransientError(f"training worker {index} was killed by {signal.Signals(-code).name}; its last lines: {last}")
    return ClickrankError(f"training worker {index} failed with exit code {code}; its last lines: {last}")


def _environment(workers: int) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    return {"TF_NUM_INTRAOP_THREADS": threads, **os.environ, "PYTHONPATH": path, "TF_USE_LEGACY_KERAS": "1"}


def main_command(*args: str) -> list[str]:
    """Returns the command line of a worker."""
    return [sys.executable, "-m", "components.trainer.worker", *args]
