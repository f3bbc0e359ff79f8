"""Beam's external worker pool: a runner asks it for workers, which it starts as processes of its own. `clickrank worker-pool`.

In the place of Beam's own. Its workers fail on TFDV's functions (see `pipeline/worker.py`), must find this Python as `python`, and
outlive a pool that is told to end.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from schemas.errors import TransientError

GRACE_S = 10
"""How long a worker that is told to end may take."""


class _Pool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._workers: list[tuple[str, subprocess.Popen[bytes]]] = []

    def StartWorker(  # noqa: N802
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        command = [sys.executable, "-m", "pipeline.worker", request.control_endpoint.url, request.worker_id]
        try:
            worker = subprocess.Popen(command, stdin=subprocess.PIPE)
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=str(error))
        with self._lock:
            # Not all runners say when they are done with a worker.
            self._workers = [*((name, other) for name, other in self._workers if other.poll() is None), (request.worker_id, worker)]
        self._say(f"worker {request.worker_id} started for {request.control_endpoint.url}")
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        with self._lock:
            named = [worker for name, worker in self._workers if name == request.worker_id and worker.poll() is None]
        # Two jobs may have a worker of one name. Then each ends when its own runner hangs up.
        if len(named) == 1:
            _end(named)
        return beam_fn_api_pb2.StopWorkerResponse()

    def end_workers(self) -> None:
        """Ends all workers."""
        with self._lock:
            _end([worker for _, worker in self._workers])


def _end(workers: list[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + GRACE_S
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def serve(host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves until an exception, such as the command line makes of a signal; then ends the workers.

    Args:
        host: Address to listen on. Whoever reaches it runs code here as this user.
        port: Port to listen on.
        say: Is told, a line at a time, that it listens and which workers it started.

    Raises:
        TransientError: The address cannot be had.
    """
    pool = _Pool(say)
    # Runners hold a connection with no call on it, and ping.
    server = grpc.server(
        ThreadPoolExecutor(),
        options=[("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0), ("grpc.so_reuseport", 0)],
    )
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise TransientError(f"cannot listen on {host}:{port}: {error}") from error
    server.start()
    try:
        say(f"worker pool on {host}:{port}")
        threading.Event().wait()
    finally:
        server.stop(None)
        pool.end_workers()
