"""The same rows from other Beam runners: worker processes of this machine, and a job service with an external worker pool."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks import feature_rows
from pipeline.synth import generate
from schemas.config import BeamConfig

PARTITION_BYTES = 30_000
"""Some partitions of displays and of users."""

MULTI_PROCESSING = (f"--runner={BeamConfig().runner}", "--direct_num_workers=2", "--direct_running_mode=multi_processing")


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
    folder = tmp_path_factory.mktemp("portable")
    with contextlib.ExitStack() as stack:
        ports = [_free_port(), _free_port()]
        stack.enter_context(_server(folder, "apache_beam.runners.portability.local_job_service_main", "-p", str(ports[0])))
        pool = stack.enter_context(_server(folder, "apache_beam.runners.worker.worker_pool_main", "--service_port", str(ports[1])))
        for port in ports:
            _await_port(port)
        flags = (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{ports[0]}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{ports[1]}",
        )
        yield flags, pool.pid


def test_an_external_worker_pool_gives_the_same_rows(log, expected, portable, tmp_path):
    run = _start(log, tmp_path / "rows", portable[0])
    output, _ = run.communicate()
    assert run.returncode == 0, output
    assert feature_rows.read(tmp_path / "rows").equals(expected)


def test_two_worker_processes_give_the_same_rows(log, expected, tmp_path):
    run = _start(log, tmp_path / "rows", MULTI_PROCESSING)
    output, _ = run.communicate()
    assert run.returncode == 0, output
    assert feature_rows.read(tmp_path / "rows").equals(expected)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["processes", "portable"])
def test_a_killed_worker_leaves_nothing_partial_and_the_next_run_succeeds(runner, expected, log, request, tmp_path):
    out = tmp_path / "rows"
    if runner == "processes":
        flags = MULTI_PROCESSING
        run = _start(log, out, flags)
        parent = run.pid
    else:
        flags, parent = request.getfixturevalue("portable")
        run = _start(log, out, flags)
    os.kill(_await_worker(parent), signal.SIGKILL)
    output, _ = run.communicate(timeout=300)
    if run.returncode == 0:
        assert feature_rows.read(out).equals(expected)
    else:
        assert not out.exists(), output
        again = _start(log, out, flags)
        output, _ = again.communicate()
        assert again.returncode == 0, output
        assert feature_rows.read(out).equals(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def _environment() -> dict[str, str]:
    """The pool starts its workers as `python`, so ours comes first; Beam's client asks for `pip` there."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _start(log: Path, out: Path, flags: tuple[str, ...]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.feature_rows", str(log), str(out), f"--partition-bytes={PARTITION_BYTES}", *flags]
    return subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextlib.contextmanager
def _server(folder: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{module}.log").open("wb") as output:
        command = [sys.executable, "-m", module, *arguments]
        server = subprocess.Popen(command, env=_environment(), stdout=output, stderr=output, start_new_session=True)
        try:
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)  # with the workers it started: its own way out leaves some behind
            server.wait()


def _await_worker(ancestor: int) -> int:
    """Waits until a process below `ancestor` is one of Beam's workers, and has had time to begin; returns its id."""
    for _ in range(600):
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in _descendants(ancestor)}
        workers = [pid for pid, words in commands.items() if b"python" in words[0] and b"sdk_worker" in b" ".join(words)]
        if workers:
            time.sleep(3)
            return workers[-1]
        time.sleep(0.1)
    raise TimeoutError("no worker was started")


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def _await_port(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
            return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port}")
