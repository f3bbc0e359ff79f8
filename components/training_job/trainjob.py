"""A training job as a TrainJob of Kubeflow Trainer 2. Pure.

Only what all versions of its API have is said here: image, command, variables, number and size of the pods. The rest of the pods is
in the TrainingRuntime of k8s/components/training-runtime. The fields: `pkg/apis/trainer/v1alpha1` of kubeflow/trainer.
"""

from typing import Any

from components.trainer.cluster import NODES, PARAMETER_SERVERS
from components.training_job.pods import Object, command, environment, resources
from components.training_job.spec import LABELS, TrainingJobSpec

GROUP, VERSION, PLURAL, KIND = "trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob"
CONTAINER, SUCCEEDED = "node", "Complete"


def render(spec: TrainingJobSpec) -> Object:
    """Returns the object, without namespace and annotations.

    All pods are those of one Indexed Job: their index is that of `components.trainer.cluster.Cluster`.
    """
    told = {NODES: len(spec.members), PARAMETER_SERVERS: spec.parameter_servers}
    job: Object = {
        "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": spec.config.runtime},
        "trainer": {
            "image": spec.config.image,
            "command": command(spec),
            "env": [*environment(spec), *({"name": name, "value": str(value)} for name, value in told.items())],
            "numNodes": len(spec.members),
            "resourcesPerNode": resources(spec, "worker"),
        },
    }
    if spec.config.active_deadline_s is not None:
        job["activeDeadlineSeconds"] = spec.config.active_deadline_s
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": spec.name, "labels": dict(LABELS)},
        "spec": job,
    }


def selector(name: str) -> str:
    """Returns what the pods of a job are found by: Trainer makes a JobSet of the same name."""
    return f"jobset.sigs.k8s.io/jobset-name={name}"


def member(labels: dict[str, Any], spec: TrainingJobSpec) -> str:
    """Returns which of the job's members a pod is, by its labels."""
    return spec.members[int(labels["batch.kubernetes.io/job-completion-index"])]
