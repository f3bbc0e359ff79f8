"""The same rows from other Beam runners: worker processes of this machine, and a job service with an external worker pool."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks import feature_rows
from pipeline.beam import beam_args
from pipeline.synth import generate
from schemas.beam import BeamConfig
from tests.beam_servers import descendants, portable_servers

PARTITION_BYTES = 30_000
"""Some partitions of displays and of users."""

PROCESSES = tuple(beam_args(BeamConfig(workers=2)))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runners") / "log"
    generate(folder, displays=300, users=100, documents=200, ads=50, page_views=4000)
    return folder


@pytest.fixture(scope="module")
def expected(log: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    out = tmp_path_factory.mktemp("local") / "rows"
    feature_rows.compute(log, out, partition_bytes=PARTITION_BYTES)
    assert len(list(out.iterdir())) > 1
    return feature_rows.read(out)


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[tuple[str, ...], int]]:
    """Starts a job service and a worker pool; gives the flags that lead there, and the pool's process id."""
    with portable_servers(tmp_path_factory.mktemp("portable")) as servers:
        yield tuple(beam_args(servers.beam)), servers.pool.pid


def test_an_external_worker_pool_gives_the_same_rows(log, expected, portable, tmp_path):
    _finish(log, tmp_path / "rows", portable[0])
    assert feature_rows.read(tmp_path / "rows").equals(expected)


def test_two_worker_processes_give_the_same_rows(log, expected, tmp_path):
    _finish(log, tmp_path / "rows", PROCESSES)
    assert feature_rows.read(tmp_path / "rows").equals(expected)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["processes", "portable"])
def test_a_worker_killed_while_rows_are_written_leaves_nothing_partial_and_the_next_run_succeeds(runner, request, tmp_path):
    log, out, whole = tmp_path / "log", tmp_path / "rows", tmp_path / "whole"
    generate(log, displays=3000, users=300, documents=300, ads=100, page_views=40_000)
    feature_rows.compute(log, whole, partition_bytes=PARTITION_BYTES)
    files = len(list(whole.iterdir()))
    assert files > 50
    flags, pool = (PROCESSES, None) if runner == "processes" else request.getfixturevalue("portable")
    with _started(log, out, flags) as run:
        written = _await_rows(run, tmp_path)
        os.kill(_busiest_worker(pool or run.pid), signal.SIGKILL)
        assert 0 < written < files  # the work was under way
        try:
            code = run.wait(timeout=60)
        except subprocess.TimeoutExpired:  # Beam's FnApiRunner may wait for ever for a worker that is gone
            code = None
    assert code != 0, out.with_suffix(".log").read_text()
    # A client that had to be killed leaves its hidden folder behind, never one under a final name.
    assert _visible(tmp_path) == {"log", "rows.log", "whole"}
    _finish(log, out, flags)
    assert feature_rows.read(out).equals(feature_rows.read(whole))
    assert _visible(tmp_path) == {"log", "rows", "rows.log", "whole"}


@contextlib.contextmanager
def _started(log: Path, out: Path, flags: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a run, and ends what is left of it: workers outlive a client that lost one of them."""
    command = [sys.executable, "-m", "benchmarks.feature_rows", str(log), str(out), f"--partition-bytes={PARTITION_BYTES}", *flags]
    with out.with_suffix(".log").open("wb") as output:  # not a pipe: a worker left behind would keep it open
        run = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            yield run
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def _finish(log: Path, out: Path, flags: tuple[str, ...]) -> None:
    with _started(log, out, flags) as run:
        assert run.wait(timeout=400) == 0, out.with_suffix(".log").read_text()


def _await_rows(run: subprocess.Popen[bytes], folder: Path) -> int:
    """Waits until the run has written its first rows, in its hidden folder; returns how many files they are."""
    for _ in range(40_000):
        if written := len(list(folder.glob(".rows-*/rows/part-*"))):
            return written
        assert run.poll() is None, (folder / "rows.log").read_text()
        time.sleep(0.01)
    raise TimeoutError("no row was written")


def _busiest_worker(ancestor: int) -> int:
    """The process below `ancestor` that is one of Beam's workers and has worked the longest."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in descendants(ancestor)}
    workers = [pid for pid, words in commands.items() if b"python" in words[0] and b"worker" in b" ".join(words)]
    return max(workers, key=_ticks)


def _ticks(pid: int) -> int:
    """User and system time of a process so far, in ticks."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def _visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}
