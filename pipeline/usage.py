"""What each node of a run took: time, CPU and memory, kept in the run's folder while the run goes on."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import psutil

from pipeline.siblings import write_whole
from schemas.errors import recover

_log = logging.getLogger(__name__)

_PERIOD_S = 0.25
"""Looking at the processes costs about 3 ms of CPU where 130 run."""

State = Literal["running", "finished", "cached", "failed"]


class Watcher(Protocol):
    """See `pipeline.runners.NodeWatcher`, which cannot be imported without TFX."""

    def started(self, node_id: str) -> None: ...
    def finished(self, node_id: str, seconds: float, cached: bool) -> None: ...
    def failed(self, node_id: str, seconds: float, error: BaseException) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """What one node took.

    Attributes:
        node: Its id.
        state: `running` if the run was killed while it worked, or goes on; `cached` if TFX had its outputs from an earlier run.
        started: Seconds since 1970.
        seconds: Time on the clock.
        cpu_seconds: User and system time of this process and all below it.
        peak_rss_bytes: The largest sum of resident memory over these processes, looked at every 0.25 s; memory that they share
            counts for each of them.
        error: First line of what it raised, "" if nothing.
    """

    node: str
    state: State
    started: float
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0
    error: str = ""


class UsageRecorder:
    """Notes what the nodes take, and passes on what it is told; a `runners.NodeWatcher`.

    A file that cannot be written is no reason to stop a run.

    Args:
        path: The file; rewritten whenever a node starts or ends.
        watcher: Is told everything, too.
    """

    def __init__(self, path: Path, watcher: Watcher):
        self._path = path
        self._watcher = watcher
        self._records: dict[str, NodeUsage] = {}
        self._cpu = 0.0
        self._sampler = _Sampler()

    def started(self, node_id: str) -> None:
        """The node begins."""
        self._sampler = _Sampler()
        self._cpu = cpu_seconds()
        self._note(NodeUsage(node_id, "running", time.time()))
        self._sampler.start()
        self._watcher.started(node_id)

    def finished(self, node_id: str, seconds: float, cached: bool) -> None:
        """The node is done."""
        self._end(node_id, seconds, "cached" if cached else "finished")
        self._watcher.finished(node_id, seconds, cached)

    def failed(self, node_id: str, seconds: float, error: BaseException) -> None:
        """The node raised `error`."""
        known = recover(error)
        first = (str(known or error).strip().splitlines() or [""])[0][:300]
        self._end(node_id, seconds, "failed", first if known else f"{type(error).__name__}: {first}")
        self._watcher.failed(node_id, seconds, error)

    def _end(self, node_id: str, seconds: float, state: State, error: str = "") -> None:
        peak = self._sampler.stop()
        record = self._records.get(node_id, NodeUsage(node_id, "running", time.time() - seconds))
        cpu = max(0.0, cpu_seconds() - self._cpu)
        self._note(replace(record, state=state, seconds=seconds, cpu_seconds=cpu, peak_rss_bytes=peak, error=error))

    def _note(self, record: NodeUsage) -> None:
        self._records[record.node] = record
        try:
            write_whole(self._path, json.dumps([asdict(r) for r in self._records.values()], indent=1) + "\n")
        except OSError as error:
            _log.warning("%s: cannot be written: %s", self._path, error.strerror or error)


def read_usage(path: Path) -> tuple[NodeUsage, ...]:
    """Reads what a `UsageRecorder` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is none of ours.
    """
    try:
        return tuple(NodeUsage(**record) for record in json.loads(path.read_text()))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a list of nodes") from error


def cpu_seconds() -> float:
    """User and system time of this process, of all below it, and of those of them that have ended and were waited for."""
    return sum(sum(times[:4]) for times in _of_all(psutil.Process.cpu_times))


def _rss_bytes() -> int:
    return sum(memory.rss for memory in _of_all(psutil.Process.memory_info))


def _of_all(ask: Callable[[psutil.Process], Any]) -> Iterator[Any]:
    """Asks this process and all below it; passes over those that end meanwhile."""
    own = psutil.Process()
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            yield ask(process)


class _Sampler:
    """Keeps the largest resident memory there was while it runs."""

    def __init__(self) -> None:
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clickrank-usage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        """Returns the peak in bytes."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._look()
        return self._peak

    def _run(self) -> None:
        while True:
            self._look()
            if self._done.wait(_PERIOD_S):
                return

    def _look(self) -> None:
        self._peak = max(self._peak, _rss_bytes())
