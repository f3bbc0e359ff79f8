"""The section `beam` of the configuration: who runs the data-parallel parts. `pipeline/beam.py` makes Beam's flags of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.section import IMAGE_DIGEST, AbsolutePath, Section, refuse_foreign

LOCAL_BEAM_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
"""Beam's runner within one process. Named in full, as Beam's default first tries to download another one."""

POOL_PORT = 50_000
"""Where a worker pool listens unless told otherwise."""

_Address = Annotated[str, Field(pattern=r"^[^\s/:]+:\d{1,5}$")]
_Bucket = Annotated[str, Field(pattern=r"^gs://[^\s/]+(/\S*)?$")]
_Count = Annotated[int, Field(gt=0)]
_Word = Annotated[str, Field(pattern=r"^\S+$")]

_KEYS: dict[str, tuple[str, ...]] = {
    "local": ("workers", "threads"),
    "portable": ("job_endpoint", "artifact_endpoint", "environment"),
    "flink": (
        "flink_master",
        "environment",
        "workers",
        "parallelism",
        "checkpointing_interval_ms",
        "execution_retries",
        "job_server_jar",
        "run_job_server",
        "artifacts_dir",
    ),
    "dataflow": (
        "project",
        "region",
        "temp_location",
        "staging_location",
        "service_account",
        "subnetwork",
        "max_workers",
        "machine_type",
        "sdk_image",
    ),
}
_NEEDED = {
    "portable": ("job_endpoint",),
    "flink": ("flink_master", "job_server_jar"),
    "dataflow": ("project", "region", "temp_location", "sdk_image"),
}


class BeamConfig(Section):
    """How Apache Beam runs the data-parallel parts; docs/scale-out.md. A change of it runs nothing again."""

    runner: Literal["local", "portable", "flink", "dataflow"] = Field(
        "local",
        description="local: this machine. portable: a job service of Beam's. flink: a Flink cluster. dataflow: Google's service.",
    )
    args: tuple[str, ...] = Field((), description="Further Beam flags, as Beam spells them; they win over the keys here.")

    workers: _Count | None = Field(
        None,
        description="Worker processes. local: of this machine; unless given, all is done in the one process. flink: of each "
        "TaskManager, 1 unless given.",
    )
    threads: _Count | None = Field(None, description="local: worker threads within the process, in the place of `workers`.")

    job_endpoint: _Address | None = Field(None, description="portable: HOST:PORT of the job service.")
    artifact_endpoint: _Address | None = Field(
        None, description="portable: HOST:PORT to which artifacts go; the job service names it unless given."
    )
    environment: _Address | None = Field(
        None,
        description=f"portable, flink: HOST:PORT of the worker pool, as the runner reaches it; localhost:{POOL_PORT} unless given.",
    )

    flink_master: _Address | None = Field(None, description="flink: HOST:PORT of the JobManager's REST interface.")
    parallelism: _Count | None = Field(None, description="flink: slots that a job takes; Flink's own default unless given.")
    checkpointing_interval_ms: _Count | None = Field(None, description="flink: between checkpoints; none unless given.")
    execution_retries: Annotated[int, Field(ge=0)] | None = Field(
        None, description="flink: how often a failed job is started again; Flink's own default unless given."
    )
    job_server_jar: AbsolutePath | None = Field(
        None, description="flink: path of Beam's job server for the cluster's version of Flink. It is never downloaded."
    )
    run_job_server: bool = Field(
        False,
        description="flink: start the jar as a job server, by `java`; otherwise the job is put into the jar and sent to Flink.",
    )
    artifacts_dir: AbsolutePath | None = Field(
        None, description="flink: folder that the job server and all TaskManagers reach, for what a job brings along."
    )

    project: _Word | None = Field(None, description="dataflow: the project that pays.")
    region: _Word | None = Field(None, description="dataflow: where the workers are.")
    temp_location: _Bucket | None = Field(None, description="dataflow: gs:// folder for temporary files.")
    staging_location: _Bucket | None = Field(
        None, description="dataflow: gs:// folder for staged files; in temp_location unless given."
    )
    service_account: _Word | None = Field(None, description="dataflow: e-mail address of the workers' account.")
    subnetwork: _Word | None = Field(None, description="dataflow: regions/REGION/subnetworks/NAME, or its whole address.")
    max_workers: _Count | None = Field(None, description="dataflow: upper bound on the workers.")
    machine_type: _Word | None = Field(None, description="dataflow: of a worker.")
    sdk_image: Annotated[str, Field(pattern=f"^{IMAGE_DIGEST.pattern}$")] | None = Field(
        None, description="dataflow: the workers' image by digest, NAME@sha256:...: the project's, with Beam's start program."
    )

    @model_validator(mode="after")
    def _of_this_runner(self) -> "BeamConfig":
        refuse_foreign(self, self.runner, _KEYS)
        for key in _NEEDED.get(self.runner, ()):
            if getattr(self, key) is None:
                raise ValueError(f"runner {self.runner} needs {key}")
        if self.workers is not None and self.threads is not None:
            raise ValueError("workers and threads exclude each other")
        if self.run_job_server != (self.artifacts_dir is not None):
            raise ValueError("run_job_server and artifacts_dir need each other")
        return self
