"""The section `kubeflow` of the configuration: what the pods of a pipeline on Kubeflow get, and where it is submitted to.

Read by `clickrank compile` and `clickrank submit` alone.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.section import IMAGE_DIGEST, AbsolutePath, Section, Variable

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
_Cpu = Annotated[str, Field(pattern=r"^([1-9]\d*m|\d+(\.\d+)?)$")]
Memory = Annotated[str, Field(pattern=r"^[1-9]\d*([EPTGMK]i?)?$")]


class TolerationConfig(Section):
    """A taint of nodes of the cluster that a pod may run on in spite of."""

    key: Annotated[str, Field(min_length=1)] = Field(description="The taint's key.")
    operator: Literal["Equal", "Exists"] = Field("Exists", description="Exists: any value. Equal: that of `value`.")
    value: str | None = Field(None, description="The taint's value; for Equal only.")
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = Field(
        None, description="The taint's effect; any unless given."
    )

    @model_validator(mode="after")
    def _value_of_equal(self) -> "TolerationConfig":
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError("value is for operator Equal, which needs it")
        return self


class SecretConfig(Section):
    """A Kubernetes secret whose values become environment variables. Its name goes into the pipeline, its values never do."""

    name: Name = Field(description="Name of the secret in the namespace of the run.")
    keys: Annotated[dict[str, Variable], Field(min_length=1)] = Field(description="Key in the secret -> environment variable.")


class VolumeConfig(Section):
    """A persistent volume claim that all pods mount."""

    claim: Name = Field(description="Name of the claim in the namespace of the run.")
    mount_path: AbsolutePath = Field(description="Where it is mounted.")
    sub_path: str = Field("", description="Folder in the volume to mount; all of it unless given.")


class ContainerConfig(Section):
    """What a pod of ours gets, whatever it is for. A key that is null is left to the cluster."""

    image: Annotated[str, Field(min_length=1)] | None = Field(None, description="The project's image, by digest: NAME@sha256:...")
    cpu_request: _Cpu | None = Field(None, description="CPUs that the pod is promised, e.g. 2 or 500m.")
    cpu_limit: _Cpu | None = Field(None, description="CPUs that it may use.")
    memory_request: Memory | None = Field(None, description="Memory that the pod is promised, e.g. 8Gi.")
    memory_limit: Memory | None = Field(None, description="Memory that it may use.")
    gpus: Annotated[int, Field(ge=0)] | None = Field(None, description="GPUs; 0 takes away those of `kubeflow.pod`.")
    gpu_type: Annotated[str, Field(min_length=1)] | None = Field(None, description="Name of the resource that GPUs are.")
    scratch: Memory | None = Field(None, description="Size limit of a volume of the pod's own at /tmp; none unless given.")
    node_selector: dict[str, str] | None = Field(None, description="Labels that the cluster's node must have.")
    tolerations: tuple[TolerationConfig, ...] | None = Field(None, description="Taints that it may have.")
    secrets: tuple[SecretConfig, ...] | None = Field(None, description="Secrets as environment variables.")


class PodConfig(ContainerConfig):
    """What the pod of a node gets. A key that is null is left to `kubeflow.pod`, and there to the cluster."""

    timeout_s: Annotated[int, Field(gt=0)] | None = Field(None, description="Seconds that one try of the node may take.")
    retries: Annotated[int, Field(ge=0)] | None = Field(None, description="How often it is tried again when it fails.")
    backoff_s: Annotated[int, Field(gt=0)] | None = Field(None, description="Seconds before the first retry; doubled each time.")
    run_as_user: Annotated[int, Field(gt=0)] | None = Field(
        None, description="The container's user, not root. Null leaves it to the image; Kubeflow Pipelines before 2.16 needs that."
    )
    run_as_group: Annotated[int, Field(gt=0)] | None = Field(None, description="The container's group, likewise.")

    def over(self, other: "PodConfig") -> "PodConfig":
        """Returns these keys, and those of `other` where they are null."""
        own = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        return other.model_copy(update=own)


class ApiConfig(Section):
    """The Kubeflow Pipelines that `clickrank submit` talks to. A token is never here: docs/kubeflow.md."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")] | None = Field(
        None, description="Address of its API, e.g. http://localhost:8888 or https://HOST/pipeline."
    )
    ui: Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")] | None = Field(
        None, description="Address of its pages, for the links that are shown; that of the API unless given."
    )
    namespace: Name | None = Field(None, description="Namespace of the runs, where Kubeflow serves several.")
    experiment: Annotated[str, Field(min_length=1)] = Field(
        "clickrank", description="Experiment of the runs; made if it is not there."
    )
    service_account: Name | None = Field("clickrank-pipeline", description="Service account of the steps' pods.")
    ca_file: str | None = Field(None, description="File of the certificates to trust (PEM), where they are not the usual ones.")
    timeout_s: Annotated[int, Field(gt=0)] = Field(30, description="Seconds that one call may take.")
    retries: Annotated[int, Field(ge=0)] = Field(5, description="How often a call is tried again that failed for the moment.")
    backoff_s: Annotated[float, Field(gt=0)] = Field(
        1.0, description="Seconds before the first retry; doubled each time, up to 30."
    )
    poll_s: Annotated[float, Field(gt=0)] = Field(10.0, description="Seconds between two looks at a run that is waited for.")
    wait_s: Annotated[int, Field(gt=0)] | None = Field(None, description="Seconds to wait for a run at most.")


class KubeflowConfig(Section):
    """The pipeline on Kubeflow Pipelines; docs/kubeflow.md."""

    allow_image_tag: bool = Field(
        False, description="Whether an image may be named by a tag, under which another image may lie tomorrow."
    )
    image_pull_secrets: tuple[Name, ...] = Field((), description="Secrets by which the cluster pulls the image.")
    volumes: tuple[VolumeConfig, ...] = Field((), description="Volumes of all pods; the root and the raw tables lie on them.")
    api: ApiConfig = Field(ApiConfig(), description="Where `clickrank submit` submits to, and how.")
    pod: PodConfig = Field(
        PodConfig(gpu_type="nvidia.com/gpu", retries=2, backoff_s=60, run_as_user=1000, run_as_group=1000),
        description="What every node's pod gets. The user is that of the project's image.",
    )
    nodes: dict[str, PodConfig] = Field({}, description="What the pod of one node of the pipeline gets instead, by the node's id.")

    def pod_of(self, node: str) -> PodConfig:
        """Returns what the pod of a node gets."""
        return self.nodes.get(node, PodConfig()).over(self.pod)

    @model_validator(mode="after")
    def _mounted_once(self) -> "KubeflowConfig":
        check_mounts(self.volumes)
        return self

    @model_validator(mode="after")
    def _images_by_digest(self) -> "KubeflowConfig":
        for pod in (self.pod, *self.nodes.values()):
            if pod.image and not self.allow_image_tag:
                check_digest(pod.image, "kubeflow")
        return self


def check_mounts(volumes: tuple[VolumeConfig, ...]) -> None:
    """Raises ValueError if two volumes are mounted at one place."""
    paths = [volume.mount_path.rstrip("/") for volume in volumes]
    if len(set(paths)) != len(paths):
        raise ValueError("volumes: two have the same mount_path")


def check_digest(image: str, section: str) -> None:
    """Raises ValueError if an image is not named by its digest; `section` has the key that lets it pass."""
    if not IMAGE_DIGEST.fullmatch(image):
        raise ValueError(
            f"image {image!r} is not named by its digest, NAME@sha256:...; {section}.allow_image_tag=true lets it pass"
        )
