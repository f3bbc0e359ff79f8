"""`clickrank worker-pool`: workers that can import what Beam sends them, and that do not outlive it."""

import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from pipeline.beam import beam_args
from schemas.beam import BeamConfig
from tests.beam_servers import await_port, descendants, free_port, portable_servers, started


@pytest.fixture
def pool(tmp_path):
    """A pool, its port, and the file that it writes to."""
    port, log = free_port(), tmp_path / "pool.log"
    with started(log, "pipeline.cli", "worker-pool", "--port", str(port)) as process:
        await_port(port)
        yield process, port, log


@pytest.fixture
def silent():
    """The address of a runner that takes connections and says nothing."""
    with socket.create_server(("localhost", 0)) as server:
        yield f"localhost:{server.getsockname()[1]}"


def start_worker(port, worker_id, control):
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        url = endpoints_pb2.ApiServiceDescriptor(url=control)
        answer = stub.StartWorker(beam_fn_api_pb2.StartWorkerRequest(worker_id=worker_id, control_endpoint=url), timeout=60)
    assert answer.error == ""


def stop_worker(port, worker_id):
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        stub.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=worker_id), timeout=60)


def await_end(pids, seconds=20):
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.1)


def is_alive(pid):
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_pool_that_is_told_to_end_ends_its_workers(pool, silent):
    process, port, log = pool
    for worker_id in ("a", "b"):
        start_worker(port, worker_id, silent)
    workers = descendants(process.pid)
    assert len(workers) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert not any(is_alive(pid) for pid in workers)
    lines = log.read_text().splitlines()
    assert lines[:3] == [f"worker pool on localhost:{port}", f"worker a started for {silent}", f"worker b started for {silent}"]


def test_workers_of_a_pool_that_is_killed_end_by_themselves(pool, silent):
    process, port, _ = pool
    start_worker(port, "a", silent)
    workers = descendants(process.pid)
    process.kill()
    await_end(workers)


def test_a_worker_that_the_runner_stops_ends_and_the_pool_goes_on(pool, silent):
    process, port, _ = pool
    start_worker(port, "a", silent)
    start_worker(port, "b", silent)
    stop_worker(port, "a")
    assert len(descendants(process.pid)) == 1
    assert process.poll() is None


def test_a_job_does_not_stop_the_worker_of_another_that_has_the_same_name(pool, silent):
    process, port, _ = pool
    start_worker(port, "1-1", silent)
    start_worker(port, "1-1", silent)
    stop_worker(port, "1-1")
    assert len(descendants(process.pid)) == 2


def test_a_worker_that_ended_by_itself_leaves_no_trace(pool, silent):
    process, port, _ = pool
    start_worker(port, "a", silent)
    (worker,) = descendants(process.pid)
    os.kill(worker, signal.SIGKILL)
    await_end([worker])
    start_worker(port, "b", silent)
    assert worker not in descendants(process.pid)  # not even as a zombie


def test_a_port_that_is_taken_is_named(pool):
    _, port, _ = pool
    command = [sys.executable, "-m", "pipeline.cli", "worker-pool", "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 75
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot listen on localhost:{port}: ")


def import_tfdv(flags, out):
    """Has a worker write the version of TFDV that it imports."""
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = (
            pipeline
            | beam.Create(["tensorflow_data_validation"])
            | beam.Map(lambda name: importlib.import_module(name).__version__)
            | beam.Map(out.write_text)
        )


def test_a_worker_of_the_pool_can_import_tfdv_although_nothing_imported_tfx_before(tmp_path):
    with portable_servers(tmp_path) as servers:
        import_tfdv(beam_args(servers.beam), tmp_path / "version")
        await_end(descendants(servers.pool.pid))  # Beam's job service stops no worker: it hangs up
    assert (tmp_path / "version").read_text() == importlib.metadata.version("tensorflow_data_validation")


def test_a_local_worker_process_can_import_tfdv_although_nothing_imported_tfx_before(tmp_path):
    import_tfdv(beam_args(BeamConfig(workers=1)), tmp_path / "version")
    assert (tmp_path / "version").read_text() == importlib.metadata.version("tensorflow_data_validation")
