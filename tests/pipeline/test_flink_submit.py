"""What Beam's client, with the flags of `beam.runner=flink`, sends to a Flink cluster: a server that answers as Flink does."""

import io
import json
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from google.protobuf import json_format

from pipeline.beam import beam_args
from schemas.beam import BeamConfig


class Flink(ThreadingHTTPServer):
    """Takes a jar and a job, and says that the job is done, or has failed."""

    def __init__(self, state):
        super().__init__(("localhost", 0), Handler)
        self.state, self.calls, self.upload = state, [], b""


class Handler(BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        call = f"{self.command} {self.path}"
        self.server.calls.append(call)
        if call == "POST /v1/jars/upload":
            self.server.upload = body
        answers = {
            "POST /v1/jars/upload": {"filename": "/tmp/flink-web/1_beam.jar"},
            "POST /v1/jars/1_beam.jar/run": {"jobid": "j1"},
            "GET /v1/jobs/j1/execution-result": {"status": {"id": "COMPLETED"}},
            "GET /v1/jobs/j1": {"state": self.server.state},
            "GET /v1/jobs/j1/exceptions": {"all-exceptions": [{"timestamp": 0, "exception": "worker pool unreachable"}]},
            "DELETE /v1/jars/1_beam.jar": {},
        }
        text = json.dumps(answers[call]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815

    def log_message(self, *args):
        pass


@pytest.fixture
def flink(request):
    server = Flink(getattr(request, "param", "FINISHED"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def flags(flink, folder, **keys):
    jar = folder / "job-server.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("org/apache/beam/runners/flink/FlinkPipelineRunner.class", b"java")
    return beam_args(BeamConfig(runner="flink", flink_master=f"localhost:{flink.server_port}", job_server_jar=str(jar), **keys))


def run(flags):
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        _ = pipeline | beam.Create([1, 2]) | beam.Map(str)


def sent(flink):
    """The jar that was uploaded, as name -> bytes."""
    boundary = re.match(rb"--[^\r]+", flink.upload)[0]
    content = flink.upload.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n" + boundary, 1)[0]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_job_goes_to_flink_in_the_jar_with_its_options_and_the_pools_address(flink, tmp_path):
    run(flags(flink, tmp_path, workers=4, parallelism=8, checkpointing_interval_ms=60_000, execution_retries=3))
    jar = sent(flink)
    assert jar["org/apache/beam/runners/flink/FlinkPipelineRunner.class"] == b"java"
    options = json.loads(jar["BEAM-PIPELINE/pipeline/pipeline-options.json"])
    of = {name: options[f"beam:option:{name}:v1"] for name in ("parallelism", "checkpointing_interval", "sdk_worker_parallelism")}
    assert of == {"parallelism": "8", "checkpointing_interval": "60000", "sdk_worker_parallelism": "4"}
    assert options["beam:option:number_of_execution_retries:v1"] == "3"
    pipeline = json_format.Parse(jar["BEAM-PIPELINE/pipeline/pipeline.json"], beam_runner_api_pb2.Pipeline())
    (environment,) = pipeline.components.environments.values()
    assert environment.urn == "beam:env:external:v1"
    assert beam_runner_api_pb2.ExternalPayload.FromString(environment.payload).endpoint.url == "localhost:50000"
    assert flink.calls[:2] == ["POST /v1/jars/upload", "POST /v1/jars/1_beam.jar/run"]
    assert "DELETE /v1/jars/1_beam.jar" in flink.calls


@pytest.mark.parametrize("flink", ["FAILED"], indirect=True)
def test_a_job_that_fails_there_fails_here(flink, tmp_path):
    with pytest.raises(RuntimeError, match="worker pool unreachable"):
        run(flags(flink, tmp_path))


def test_a_jar_that_is_not_there_is_named_and_not_downloaded(flink, tmp_path):
    args = flags(flink, tmp_path)
    (tmp_path / "job-server.jar").unlink()
    with pytest.raises(ValueError, match=re.escape(f'"{tmp_path / "job-server.jar"}"')):
        run(args)
    assert flink.upload == b""
