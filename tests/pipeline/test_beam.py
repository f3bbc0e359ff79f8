"""Beam's flags from the configuration, and that Beam knows each of them."""

import json
import logging
import sys

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner
from apache_beam.runners.portability.flink_runner import FlinkRunner
from google.protobuf import json_format

from pipeline.beam import beam_args
from pipeline.config import load_config

IMAGE = f"team/clickrank@sha256:{64 * 'a'}"
FLINK = {"runner": "flink", "flink_master": "clickrank-flink-rest:8081", "job_server_jar": "/opt/beam/flink-job-server.jar"}
TUNED = {"workers": 4, "parallelism": 8, "checkpointing_interval_ms": 60_000, "execution_retries": 3}
DATAFLOW = {"runner": "dataflow", "project": "p", "region": "europe-west1", "temp_location": "gs://bucket/tmp", "sdk_image": IMAGE}
SIZED = {"max_workers": 10, "machine_type": "n2-highmem-4", "service_account": "w@p.iam", "subnetwork": "regions/r/subnetworks/s"}

LOCAL_FLAG = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
NO_IMAGE = "--sdk_container_image=clickrank"
POOL = ["--environment_type=EXTERNAL", "--environment_config=localhost:50000"]

CASES = {
    "default": ({}, [LOCAL_FLAG, NO_IMAGE]),
    "workers": (
        {"workers": 2},
        [
            *("--runner=PortableRunner", "--job_endpoint=embed", "--direct_num_workers=2"),
            "--environment_type=beam:env:harness_subprocess_python:v1",
            f"--environment_config={sys.executable} -m apache_beam.runners.worker.sdk_worker_main",
            *("--beam_plugin=tfx", NO_IMAGE),
        ],
    ),
    "threads": ({"threads": 2}, [LOCAL_FLAG, "--direct_num_workers=2", "--direct_running_mode=multi_threading", NO_IMAGE]),
    "portable": (
        {"runner": "portable", "job_endpoint": "jobs:8099", "artifact_endpoint": "jobs:8098", "environment": "pool:50001"},
        [
            *("--runner=PortableRunner", "--job_endpoint=jobs:8099", "--artifact_endpoint=jobs:8098", POOL[0]),
            *("--environment_config=pool:50001", NO_IMAGE),
        ],
    ),
    "flink": (
        {**FLINK, **TUNED},
        [
            *("--runner=FlinkRunner", "--flink_master=clickrank-flink-rest:8081"),
            *("--flink_job_server_jar=/opt/beam/flink-job-server.jar", "--flink_submit_uber_jar", *POOL),
            *("--sdk_worker_parallelism=4", "--parallelism=8"),
            *("--checkpointing_interval=60000", "--number_of_execution_retries=3", NO_IMAGE),
        ],
    ),
    "flink by a job server": (
        {**FLINK, "run_job_server": True, "artifacts_dir": "/clickrank/flink/artifacts"},
        [
            *("--runner=FlinkRunner", "--flink_master=clickrank-flink-rest:8081"),
            *("--flink_job_server_jar=/opt/beam/flink-job-server.jar", "--artifacts_dir=/clickrank/flink/artifacts"),
            *(*POOL, NO_IMAGE),
        ],
    ),
    "dataflow": (
        {**DATAFLOW, **SIZED, "staging_location": "gs://bucket/staging"},
        [
            *("--runner=DataflowRunner", "--project=p", "--region=europe-west1", "--temp_location=gs://bucket/tmp"),
            *("--staging_location=gs://bucket/staging", f"--sdk_container_image={IMAGE}", "--sdk_location=container"),
            *("--no_save_main_session", "--beam_plugin=tfx", "--service_account_email=w@p.iam"),
            *("--subnetwork=regions/r/subnetworks/s", "--max_num_workers=10", "--machine_type=n2-highmem-4"),
        ],
    ),
    "further flags": (
        {"args": ["--job_name=nightly", "--setup_file=/a/setup.py"]},
        [LOCAL_FLAG, "--job_name=nightly", "--setup_file=/a/setup.py"],
    ),
}
OF_JAVA = ["--checkpointing_interval=60000", "--number_of_execution_retries=3"]
"""Flags that Beam's Python has no option for; the last test follows them to Flink's side."""


def flags(section):
    return beam_args(load_config((), [f"beam={json.dumps(section)}"]).beam)


@pytest.mark.parametrize(("section", "expected"), CASES.values(), ids=CASES)
def test_each_key_becomes_its_flag(section, expected):
    assert flags(section) == expected


@pytest.mark.parametrize("section", [case[0] for case in CASES.values()], ids=CASES)
def test_beam_knows_every_flag(section, caplog):
    with caplog.at_level(logging.WARNING):
        options = PipelineOptions(flags(section)).get_all_options(drop_default=True)
    unknown = OF_JAVA if "checkpointing_interval_ms" in section else []
    assert [record.getMessage() for record in caplog.records] == ([f"Discarding unparseable args: {unknown}"] if unknown else [])
    assert len(options) == len(flags(section)) - len(unknown)  # each flag is an option of its own, and none has its default


@pytest.mark.parametrize("name", ["default", "workers", "threads", "portable", "flink", "flink by a job server"])
def test_beam_finds_nothing_wrong_with_the_flags(name):
    section = CASES[name][0]  # Dataflow's are not among them: Beam would ask Google's storage about the bucket
    options = PipelineOptions(flags(section))
    runner = create_runner(options.view_as(StandardOptions).runner)
    assert PipelineOptionsValidator(options, runner).validate() == []


def test_a_flag_of_ones_own_wins_over_the_key():
    args = flags({"workers": 2, "args": ["--direct_num_workers=5"]})
    assert PipelineOptions(args).get_all_options()["direct_num_workers"] == 5


def test_what_only_java_knows_reaches_it_under_its_name():
    options = PipelineOptions(flags({**FLINK, **TUNED}))
    runner = FlinkRunner()
    handle = runner.create_job_service_handle(runner.default_job_server(options).start(), options)
    sent = json_format.MessageToDict(handle.get_pipeline_options())
    assert sent["beam:option:checkpointing_interval:v1"] == "60000"
    assert sent["beam:option:number_of_execution_retries:v1"] == "3"
