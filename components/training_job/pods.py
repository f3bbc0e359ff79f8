"""The pods of a training job, as Kubernetes' objects, to the restricted Pod Security Standard. Pure."""

from typing import Any

from components.trainer.cluster import PORT, TF_CONFIG, Cluster
from components.training_job.spec import LABELS, TrainingJobSpec

Object = dict[str, Any]

UID = "CLICKRANK_POD_UID"
"""What tells a pod that came in another's place from that one: they have the same name."""


def pod_template(spec: TrainingJobSpec, role: str, container: str, port: str) -> Object:
    """Returns the template of the pods of one kind, whose container and its port have the names that the operator asks for."""
    config = spec.config
    claims = list(dict.fromkeys(volume.claim for volume in config.volumes))
    mounts = [
        {"name": f"claim-{claims.index(volume.claim)}", "mountPath": volume.mount_path}
        | ({"subPath": volume.sub_path} if volume.sub_path else {})
        for volume in config.volumes
    ]
    pod: Object = {
        "serviceAccountName": config.service_account,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": config.grace_s,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": config.run_as_user,
            "runAsGroup": config.run_as_group,
            "fsGroup": config.run_as_group,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": container,
                "image": config.image,
                "command": command(spec),
                "env": environment(spec),
                "ports": [{"name": port, "containerPort": PORT, "protocol": "TCP"}],
                "resources": resources(spec, role),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",  # the last lines, also of a pod that is gone
                "volumeMounts": [*mounts, {"name": "scratch", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [
            *({"name": f"claim-{i}", "persistentVolumeClaim": {"claimName": claim}} for i, claim in enumerate(claims)),
            {"name": "scratch", "emptyDir": {"sizeLimit": config.scratch}},
        ],
    }
    if config.node_selector:
        pod["nodeSelector"] = dict(config.node_selector)
    if config.tolerations:
        pod["tolerations"] = [toleration.model_dump(exclude_none=True) for toleration in config.tolerations]
    if config.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in config.image_pull_secrets]
    if config.priority_class:
        pod["priorityClassName"] = config.priority_class
    # A proxy beside the container would outlive it, and Istio's does not know TensorFlow's protocol.
    annotations = {"sidecar.istio.io/inject": "false"}
    return {"metadata": {"labels": dict(LABELS), "annotations": annotations}, "spec": pod}


def command(spec: TrainingJobSpec) -> list[str]:
    """Returns what a pod runs."""
    return ["python3", "-m", "components.training_job.member", spec.work_dir]


def environment(spec: TrainingJobSpec) -> list[Object]:
    """Returns the variables of a pod."""
    variables: list[Object] = [
        {"name": UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        *({"name": name, "value": "/tmp"} for name in ("HOME", "TMPDIR")),
        {"name": "TF_USE_LEGACY_KERAS", "value": "1"},
        {"name": "PYTHONUNBUFFERED", "value": "1"},
    ]
    if spec.distributed and len(spec.members) == 1:
        # A TFJob's operator sets none for a single pod (`isDistributed` in its tfjob_controller.go), but the strategy needs it.
        variables.append({"name": TF_CONFIG, "value": Cluster((f"localhost:{PORT}",), 0).tf_config()})
    for secret in spec.config.secrets or ():
        for key, variable in sorted(secret.keys.items()):
            variables.append({"name": variable, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}})
    return variables


def resources(spec: TrainingJobSpec, role: str) -> Object:
    """Returns what a pod may take: what the configuration says, and as much of the node's disk as its scratch volume."""
    config = spec.config
    sizes = {
        "requests": {"cpu": config.cpu_request, "memory": config.memory_request, "ephemeral-storage": config.scratch},
        "limits": {"cpu": config.cpu_limit, "memory": config.memory_limit, "ephemeral-storage": config.scratch},
    }
    gpus = spec.gpus(role)
    if gpus:
        for part in sizes.values():
            part[config.gpu_type] = str(gpus)
    return {part: {name: size for name, size in given.items() if size is not None} for part, given in sizes.items()}
