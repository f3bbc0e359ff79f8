"""What a training job is, before it is written down for a cluster. Pure."""

import hashlib
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from components.trainer.cluster import members
from schemas.config import TrainerConfig
from schemas.errors import ConfigError
from schemas.kubeflow import VolumeConfig
from schemas.training_job import TrainingJobConfig

FOLDER, CONTENT = "clickrank/folder", "clickrank/content"
"""Annotations of a job: where it trains, and a digest of all that makes it."""

LABELS = {"app.kubernetes.io/part-of": "clickrank", "app.kubernetes.io/component": "trainer"}
"""Of a job and its pods; the network policies of k8s/ go by them."""


@dataclass(frozen=True, slots=True)
class TrainingJobSpec:
    """One training job.

    Attributes:
        name: Of the object in the cluster.
        folder: Where it trains, as CLAIM/PATH.
        work_dir: The folder of `components.trainer.work_dir`, as all its pods see it.
        config: What the pods get.
        workers, parameter_servers: How many train, and how many hold the variables for them; the latter are 0 unless the strategy
            has parameter servers, and then there is a chief, too.
        distributed: Whether the strategy is one for clusters, also where it is one of a single pod.
        max_restarts: How often lost pods start again.
    """

    name: str
    folder: str
    work_dir: str
    config: TrainingJobConfig
    workers: int
    parameter_servers: int
    distributed: bool
    max_restarts: int

    @property
    def members(self) -> tuple[str, ...]:
        """The pods, by the names that they go by in `components.trainer`; the first is the chief's."""
        return members(self.workers, self.parameter_servers)

    @property
    def roles(self) -> tuple[tuple[str, int], ...]:
        """(kind of pod, how many), in the order of the pods."""
        if not self.parameter_servers:
            return (("worker", self.workers),)
        return (("chief", 1), ("worker", self.workers), ("ps", self.parameter_servers))

    def gpus(self, role: str) -> int:
        """GPUs of a pod: the chief of parameter servers and these themselves compute nothing that needs one."""
        return (self.config.gpus or 0) if role == "worker" else 0


def plan(config: TrainingJobConfig, trainer: TrainerConfig, checkpoint_dir: str, read: Sequence[str] = ()) -> TrainingJobSpec:
    """Returns the job that trains into a folder of checkpoints.

    Its name is a hash of that folder: of the claim that it lies on, and its path there. So it is the same in every try of a node
    and in every run that would go on with the same training, while ids of runs and executions change from try to try. And as no
    namespace has two jobs of one name, no two of them train into one folder.

    Args:
        config: What the pods get.
        trainer: How it is trained, and by how many.
        checkpoint_dir: A folder of this training alone.
        read: What the pods read; "" is nothing.

    Raises:
        ConfigError: There is no image, a path lies on none of the volumes, or the kind of job cannot have what is asked for.
    """
    if config.image is None:
        raise ConfigError("training_job: no image; set training_job.image to NAME@sha256:...")
    for path in filter(None, read):
        _mount_of(path, config.volumes)
    if config.kind == "trainjob" and config.gpus and trainer.is_asynchronous:
        raise ConfigError(
            "training_job.gpus: a trainjob's pods all get the same, also parameter servers, which need none; use a tfjob"
        )
    volume = _mount_of(checkpoint_dir, config.volumes)
    inside = posixpath.relpath(checkpoint_dir, volume.mount_path)
    folder = posixpath.normpath(posixpath.join(volume.claim, volume.sub_path, inside))
    return TrainingJobSpec(
        name=f"clickrank-{hashlib.sha256(folder.encode()).hexdigest()[:16]}",
        folder=folder,
        work_dir=posixpath.join(checkpoint_dir, "job"),
        config=config,
        workers=trainer.workers,
        parameter_servers=trainer.parameter_servers if trainer.is_asynchronous else 0,
        distributed=trainer.is_distributed,
        max_restarts=trainer.max_restarts,
    )


def _mount_of(path: str, volumes: Sequence[VolumeConfig]) -> VolumeConfig:
    """The volume that a path lies on: that of the longest mount path."""
    found = [volume for volume in volumes if posixpath.commonpath([path, volume.mount_path]) == volume.mount_path.rstrip("/")]
    if not found:
        raise ConfigError(f"training_job.volumes: {path} lies on none of them, so the pods would not see it")
    return max(found, key=lambda volume: len(volume.mount_path))
