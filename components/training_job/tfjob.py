"""A training job as a TFJob of Kubeflow's training operator. Pure.

The fields: `pkg/apis/kubeflow.org/v1` of kubeflow/training-operator, the names of labels included.
"""

from typing import Any

from components.training_job.pods import Object, pod_template
from components.training_job.spec import LABELS, TrainingJobSpec

GROUP, VERSION, PLURAL, KIND = "kubeflow.org", "v1", "tfjobs", "TFJob"
CONTAINER, SUCCEEDED = "tensorflow", "Succeeded"
_REPLICAS = {"chief": "Chief", "worker": "Worker", "ps": "PS"}


def render(spec: TrainingJobSpec) -> Object:
    """Returns the object, without namespace and annotations.

    The restart policy is ExitCode. The operator then makes a pod anew that ended with 128 or more, and fails the job of one that
    ended with less (`IsRetryableExitCode` in its `pkg/util/train`), as bad input data does. Under OnFailure it would restart that,
    too. A training that may go on ends with `components.training_job.group.TRY_AGAIN` for that.

    Under ExitCode the operator does not count (kubeflow/trainer#2045): `components.training_job.group` does.
    """
    config = spec.config
    policy: Object = {
        "cleanPodPolicy": "Running",
        "backoffLimit": spec.max_restarts,
        "schedulingPolicy": {"minAvailable": len(spec.members)},
    }
    if config.active_deadline_s is not None:
        policy["activeDeadlineSeconds"] = config.active_deadline_s
    if config.ttl_s is not None:
        policy["ttlSecondsAfterFinished"] = config.ttl_s
    if config.queue:
        policy["schedulingPolicy"]["queue"] = config.queue
    if config.priority_class:
        policy["schedulingPolicy"]["priorityClass"] = config.priority_class
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": spec.name, "labels": dict(LABELS)},
        "spec": {
            "runPolicy": policy,
            "tfReplicaSpecs": {
                _REPLICAS[role]: {
                    "replicas": count,
                    "restartPolicy": "ExitCode",
                    "template": pod_template(spec, role, CONTAINER, "tfjob-port"),
                }
                for role, count in spec.roles
            },
        },
    }


def selector(name: str) -> str:
    """Returns what the pods of a job are found by."""
    return f"training.kubeflow.org/job-name={name}"


def member(labels: dict[str, Any], spec: TrainingJobSpec) -> str:
    """Returns which of the job's members a pod is, by its labels."""
    return f"{labels['training.kubeflow.org/replica-type']}-{labels['training.kubeflow.org/replica-index']}"
