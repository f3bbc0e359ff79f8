"""The pods that objects make, and what must hold for each of them, as sentences about what is wrong.

The restricted profile is that of Kubernetes' Pod Security Standards.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

Object = dict[str, Any]

RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
FLINK_MAIN = "flink-main-container"
SECRET_NAME = re.compile(r"password|passwd|token|secret|credential|api_?key|access_?key", re.IGNORECASE)


class Pod(NamedTuple):
    """A pod that an object makes: who makes it, how many, its labels and its spec."""

    owner: str
    replicas: int
    labels: dict[str, str]
    spec: Object

    def containers(self) -> Iterator[Object]:
        for kind in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(kind, [])


def pods(objects: list[Object]) -> list[Pod]:
    """Returns the pods of workloads and training jobs, of KServe's InferenceService and of Flink's FlinkDeployment.

    The model of an InferenceService is a container without an image. So is that of a TrainingRuntime: each TrainJob brings its own,
    and there are no pods before that.
    """
    found = []
    for obj in objects:
        owner, spec = f"{obj['kind']} {obj['metadata']['name']}", obj.get("spec", {})
        if obj["kind"] == "InferenceService":
            predictor = spec["predictor"]
            image = ":".join(filter(None, ["kserve", predictor["model"].get("runtimeVersion")]))
            labels = {"serving.kserve.io/inferenceservice": obj["metadata"]["name"]}
            containers = [{"name": "model", "image": image, **predictor["model"]}]
            found.append(Pod(owner, predictor["maxReplicas"], labels, {**predictor, "containers": containers}))
            continue
        if obj["kind"] == "FlinkDeployment":
            found += [flink_pod(obj, role) for role in ("jobManager", "taskManager")]
            continue
        if obj["kind"] == "TFJob":
            for role, replica in spec["tfReplicaSpecs"].items():
                template = replica["template"]
                found.append(Pod(f"{owner} {role}", replica["replicas"], template["metadata"].get("labels", {}), template["spec"]))
            continue
        if obj["kind"] == "TrainingRuntime":
            for job in spec["template"]["spec"]["replicatedJobs"]:
                template = job["template"]["spec"]["template"]
                containers = [{"image": "given:0.0.0", **container} for container in template["spec"]["containers"]]
                found.append(Pod(owner, 0, template["metadata"].get("labels", {}), {**template["spec"], "containers": containers}))
            continue
        if obj["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if obj["kind"] == "Pod":
            found.append(Pod(owner, 1, obj["metadata"].get("labels", {}), spec))
        elif "template" in spec:
            found.append(
                Pod(owner, spec.get("replicas", 1), spec["template"]["metadata"].get("labels", {}), spec["template"]["spec"])
            )
    return found


def flink_pod(obj: Object, role: str) -> Pod:
    """Returns the pod that Flink's operator makes for a role in standalone mode: the role's template with account, image, memory
    and processor put in, and its main container last.

    Raises:
        ValueError: There is a template for both roles, which this does not merge.
    """
    spec, part = obj["spec"], obj["spec"][role]
    if "podTemplate" in spec:
        raise ValueError("a template for both roles is not known here")
    template = part["podTemplate"]
    size = {"cpu": part["resource"]["cpu"], "memory": part["resource"]["memory"].replace("m", "Mi")}  # Flink's m are mebibytes
    main, others = {}, []
    for container in template["spec"]["containers"]:
        if container["name"] == FLINK_MAIN:
            main = container
        else:
            others.append(container)
    resources = {way: {**main.get("resources", {}).get(way, {}), **size} for way in ("requests", "limits")}
    main = {**main, "name": FLINK_MAIN, "image": spec.get("image", ""), "resources": resources}
    pod = {**template["spec"], "serviceAccountName": spec.get("serviceAccount", "default"), "containers": [*others, main]}
    labels = template["metadata"].get("labels", {})
    return Pod(f"FlinkDeployment {obj['metadata']['name']} {role}", part.get("replicas", 1), labels, pod)


def of_pod(pod: Pod) -> Iterator[str]:
    """The pod's own fields of the restricted profile, and its volumes."""
    context = pod.spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if not context.get("runAsUser") or not context.get("runAsGroup"):
        yield "no numeric user and group other than 0"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccompProfile is not RuntimeDefault"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(field):
            yield f"{field} is set"
    for volume in pod.spec.get("volumes", []):
        if wrong := set(volume) - {"name"} - RESTRICTED_VOLUMES:
            yield f"volume {volume['name']} is of kind {sorted(wrong)}"
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"volume {volume['name']} has no sizeLimit"


def of_containers(pod: Pod) -> Iterator[str]:
    """The containers' fields of the restricted profile, their images, and what they may take."""
    for container in pod.containers():
        name, context = container["name"], container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation is not false"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{name}: readOnlyRootFilesystem is not true"
        if context.get("privileged"):
            yield f"{name}: privileged"
        if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
            yield f"{name}: capabilities are not dropped"
        if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
            yield f"{name}: runs as root"
        if context.get("seccompProfile", {}).get("type", "RuntimeDefault") != "RuntimeDefault":
            yield f"{name}: seccompProfile is not RuntimeDefault"
        if wrong := wrong_image(container.get("image", "")):
            yield f"{name}: {wrong}"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name}: hostPort"
        for part in ("requests", "limits"):
            for resource in ("cpu", "memory", "ephemeral-storage"):
                if resource not in container.get("resources", {}).get(part, {}):
                    yield f"{name}: no {resource} in {part}"


def wrong_image(image: str) -> str | None:
    """Says what is wrong with an image's name: it needs a digest or an exact tag, and no host of a registry."""
    name, _, digest = image.partition("@")
    tag = re.search(r":([^/:]+)$", name)
    host = name.split("/")[0] if "/" in name else ""
    if "." in host or ":" in host or host == "localhost":
        return f"image {image} names a registry"
    if digest:
        return None if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else f"image {image} has no whole digest"
    if not tag or not re.fullmatch(r"\d+\.\d+\.\d+[\w.-]*", tag[1]):
        return f"image {image} has neither a digest nor an exact version"
    return None


def of_secrets(pod: Pod) -> Iterator[str]:
    """No value of a secret is in a container's environment or arguments; the name of a file is none."""
    for container in pod.containers():
        for variable in container.get("env", []):
            if SECRET_NAME.search(variable["name"]) and "valueFrom" not in variable and not variable["name"].endswith("_FILE"):
                yield f"{container['name']}: {variable['name']} has its value in the manifest"
        for word in [*container.get("command", []), *container.get("args", [])]:
            if re.search(r"(password|token|secret)[=:]", word, re.IGNORECASE):
                yield f"{container['name']}: a secret among the arguments"
