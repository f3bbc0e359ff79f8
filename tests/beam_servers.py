"""Beam's job service and the project's worker pool, as processes of their own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.beam import BeamConfig


class Servers(NamedTuple):
    """What leads there, the pool's process, and the file that it writes to."""

    beam: BeamConfig
    pool: subprocess.Popen[bytes]
    log: Path


@contextlib.contextmanager
def portable_servers(folder: Path) -> Iterator[Servers]:
    """Starts both; their output goes to `folder`."""
    job_port, pool_port = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        job_service = ["apache_beam.runners.portability.local_job_service_main", "-p", str(job_port)]
        stack.enter_context(started(folder / "jobs.log", *job_service))
        pool = stack.enter_context(started(folder / "pool.log", "pipeline.cli", "worker-pool", "--port", str(pool_port)))
        for port in (job_port, pool_port):
            await_port(port)
        beam = BeamConfig(runner="portable", job_endpoint=f"localhost:{job_port}", environment=f"localhost:{pool_port}")
        yield Servers(beam, pool, folder / "pool.log")


@contextlib.contextmanager
def started(log: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a module, and ends it and all that it started."""
    with log.open("wb") as output:
        command = [sys.executable, "-m", module, *arguments]
        server = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def descendants(pid: int) -> list[int]:
    """The processes that a process and those that it started have started, as far as they are there."""
    found = []
    with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def await_port(port: int) -> None:
    """Waits until somebody listens."""
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
            return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port}")
