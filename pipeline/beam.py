"""Beam's flags from the configuration. Without TFX, which takes seconds to import."""

import shlex
import sys

from schemas.beam import LOCAL_BEAM_RUNNER, POOL_PORT, BeamConfig

_OWN_PACKAGES = ("--sdk_container_image", "--setup_file", "--requirements_file", "--extra_package")


def beam_args(beam: BeamConfig) -> list[str]:
    """Returns Beam's flags for data-parallel work: those of the runner, then `beam.args`, of which the last one wins."""
    args = [*_OF_RUNNER[beam.runner](beam), *beam.args]
    if not any(arg.startswith(_OWN_PACKAGES) for arg in args):
        # Told of no image, TFX builds a source package of itself for every node. The image has all; these runners read no image.
        args.append("--sdk_container_image=clickrank")
    return args


def _local(beam: BeamConfig) -> list[str]:
    if beam.workers is not None:
        # Not FnApiRunner's multi_processing, though it comes to the same: its workers know no plugins, and without tfx they fail on
        # TFDV's functions.
        return [
            "--runner=PortableRunner",
            "--job_endpoint=embed",
            f"--direct_num_workers={beam.workers}",
            "--environment_type=beam:env:harness_subprocess_python:v1",
            f"--environment_config={shlex.quote(sys.executable)} -m apache_beam.runners.worker.sdk_worker_main",
            "--beam_plugin=tfx",
        ]
    runner = f"--runner={LOCAL_BEAM_RUNNER}"
    if beam.threads is not None:
        return [runner, f"--direct_num_workers={beam.threads}", "--direct_running_mode=multi_threading"]
    return [runner]


def _portable(beam: BeamConfig) -> list[str]:
    return [
        "--runner=PortableRunner",
        f"--job_endpoint={beam.job_endpoint}",
        *_given("artifact_endpoint", beam.artifact_endpoint),
        *_pool(beam),
    ]


def _flink(beam: BeamConfig) -> list[str]:
    return [
        "--runner=FlinkRunner",
        f"--flink_master={beam.flink_master}",
        f"--flink_job_server_jar={beam.job_server_jar}",
        *([f"--artifacts_dir={beam.artifacts_dir}"] if beam.run_job_server else ["--flink_submit_uber_jar"]),
        *_pool(beam),
        *_given("sdk_worker_parallelism", beam.workers),
        *_given("parallelism", beam.parallelism),
        # Options of the Java side: Beam's Python passes on what it does not know.
        *_given("checkpointing_interval", beam.checkpointing_interval_ms),
        *_given("number_of_execution_retries", beam.execution_retries),
    ]


def _dataflow(beam: BeamConfig) -> list[str]:
    return [
        "--runner=DataflowRunner",
        f"--project={beam.project}",
        f"--region={beam.region}",
        f"--temp_location={beam.temp_location}",
        *_given("staging_location", beam.staging_location),
        f"--sdk_container_image={beam.sdk_image}",
        "--sdk_location=container",
        # All functions are in modules that the image has; what is in the command line's own module is no business of the workers.
        "--no_save_main_session",
        "--beam_plugin=tfx",
        *_given("service_account_email", beam.service_account),
        *_given("subnetwork", beam.subnetwork),
        *_given("max_num_workers", beam.max_workers),
        *_given("machine_type", beam.machine_type),
    ]


def _pool(beam: BeamConfig) -> list[str]:
    return ["--environment_type=EXTERNAL", f"--environment_config={beam.environment or f'localhost:{POOL_PORT}'}"]


def _given(flag: str, value: str | int | None) -> list[str]:
    return [] if value is None else [f"--{flag}={value}"]


_OF_RUNNER = {"local": _local, "portable": _portable, "flink": _flink, "dataflow": _dataflow}
