"""The section `training_job` of the configuration: the pods that train, where training is not the Trainer's own process.

How many there are is said by `trainer.strategy`, `trainer.workers` and `trainer.parameter_servers`, and how often they are started
again by `trainer.max_restarts`. Nothing here changes the model, so nothing here is part of the Trainer's cache key.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.kubeflow import ContainerConfig, Memory, Name, VolumeConfig, check_digest, check_mounts

_RUNTIME_HAS = (
    *("node_selector", "tolerations", "image_pull_secrets", "queue", "priority_class", "ttl_s"),
    *("service_account", "run_as_user", "run_as_group", "scratch", "grace_s"),
)
"""Keys for which a TrainJob has no field in all versions of its API: they are fields of the TrainingRuntime."""


class TrainingJobConfig(ContainerConfig):
    """Training in pods of its own; docs/training-jobs.md. `image` and what follows it is for each pod."""

    kind: Literal["none", "tfjob", "trainjob"] = Field(
        "none",
        description="none: the Trainer trains in its own process, or starts processes on its machine. tfjob: it makes a TFJob "
        "(kubeflow.org/v1). trainjob: it makes a TrainJob (trainer.kubeflow.org/v1alpha1) of the runtime `runtime`.",
    )
    gpus: Annotated[int, Field(ge=0)] | None = Field(None, description="GPUs of each pod that trains; a worker uses one of them.")
    gpu_type: Annotated[str, Field(min_length=1)] = Field("nvidia.com/gpu", description="Name of the resource that GPUs are.")
    scratch: Memory = Field(
        "2Gi", description="Size of a volume of the pod's own at /tmp, which is all that it can write to beside `volumes`."
    )
    allow_image_tag: bool = Field(False, description="Whether the image may be named by a tag.")
    image_pull_secrets: tuple[Name, ...] = Field((), description="Secrets by which the cluster pulls the image.")
    volumes: tuple[VolumeConfig, ...] = Field(
        (),
        description="Volumes, mounted where the Trainer has them; one has the root. Compiled for Kubeflow: those of `kubeflow`.",
    )
    run_as_user: Annotated[int, Field(gt=0)] = Field(1000, description="The container's user, not root.")
    run_as_group: Annotated[int, Field(gt=0)] = Field(1000, description="The container's group.")
    namespace: Name | None = Field(None, description="Namespace of the job; that of the Trainer's pod unless given.")
    service_account: Name = Field("clickrank-trainer", description="Service account of the pods; they get no token of it.")
    runtime: Name = Field("clickrank-tensorflow", description="The TrainingRuntime of a trainjob: k8s/components/training-runtime.")
    active_deadline_s: Annotated[int, Field(gt=0)] | None = Field(None, description="Seconds after which the job is given up.")
    grace_s: Annotated[int, Field(gt=0)] = Field(120, description="Seconds that a pod has to save itself when it is told to end.")
    ttl_s: Annotated[int, Field(ge=0)] | None = Field(
        604_800, description="Seconds after which a job that has failed, and that nobody goes on with, is deleted; a week."
    )
    queue: Annotated[str, Field(min_length=1)] | None = Field(None, description="Queue of a gang scheduler.")
    priority_class: Name | None = Field(None, description="Priority class of the pods.")

    @model_validator(mode="after")
    def _as_kubeflow(self) -> "TrainingJobConfig":
        check_mounts(self.volumes)
        if self.image and not self.allow_image_tag:
            check_digest(self.image, "training_job")
        return self

    @model_validator(mode="after")
    def _keys_of_the_runtime(self) -> "TrainingJobConfig":
        if self.kind == "trainjob":
            given = [key for key in _RUNTIME_HAS if getattr(self, key) != type(self).model_fields[key].default]
            if given:
                raise ValueError(
                    f"{given[0]} of a trainjob stands in its TrainingRuntime, {self.runtime}: patch it in your overlay"
                )
        return self
