"""The manifests in k8s/: they parse, fit Kubernetes' own schemas, and keep to the policies. Nothing here needs a cluster."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions
from apache_beam.version import __version__ as beam_version

from schemas.beam import POOL_PORT
from tests.k8s.pods import pods
from tests.k8s.policies import problems
from tests.k8s.render import K8S, load, patch, render

OVERLAYS = ("dev", "gpu", "prod")
# Those that are in no overlay.
COMPONENTS = ("kserve", "recurring-run", "flink", "training-runtime")
# The oldest that docs/kubernetes.md asks for, and the newest that the package knows.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
# Kinds that Kubernetes' own schemas do not have.
FOREIGN = {"InferenceService", "FlinkDeployment", "TrainingRuntime"}


def with_component(name: str, folder: Path) -> list[dict]:
    """Renders the base with a component, by a kustomization such as a user would write."""
    words = {"resources": [str(K8S / "base")], "components": [str(K8S / "components" / name)], "namespace": "clickrank"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(words))
    return render(folder)


def rendered(name: str, folder: Path) -> list[dict]:
    return with_component(name, folder) if name in COMPONENTS else render(K8S / "overlays" / name)


def pod_templates(part):
    """The pods' templates anywhere in an object."""
    if isinstance(part, dict):
        if "containers" in (part.get("spec") or {}):
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from pod_templates(one)


def test_no_pod_has_a_proxy_in_a_namespace_of_istio():
    # Namespaces of Kubeflow's profiles are. What its proxy needs to begin with, the restricted profile does not allow.
    found = [one for file in K8S.rglob("*.yaml") for one in pod_templates(load(file))]
    assert len(found) == 6
    for template in found:
        assert template["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}, template["metadata"]


def test_the_namespace_leaves_the_label_of_profiles_to_kubeflow():
    # It does not change one that is there (kubeflow/kubeflow, profile_controller.go, setNamespaceLabels), and goes by it.
    (namespace,) = load(K8S / "base/namespace.yaml")
    assert "app.kubernetes.io/part-of" not in namespace["metadata"]["labels"]


def flink(folder: Path) -> dict:
    return next(obj for obj in with_component("flink", folder) if obj["kind"] == "FlinkDeployment")


@pytest.mark.parametrize("file", sorted(K8S.rglob("*.yaml")), ids=lambda file: str(file.relative_to(K8S)))
def test_every_file_is_yaml_and_each_object_has_a_kind_and_a_version(file):
    objects = load(file)
    assert objects
    assert all(obj["apiVersion"] and obj["kind"] for obj in objects)


def test_every_file_is_part_of_a_kustomization():
    named = set()
    for file in K8S.rglob("kustomization.yaml"):
        words = yaml.safe_load(file.read_text())
        named |= {(file.parent / name).resolve() for key in ("resources", "components") for name in words.get(key, [])}
    assert {file for file in K8S.rglob("*.yaml") if file.name != "kustomization.yaml"} <= named


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_every_object_fits_its_schema(name, version, tmp_path):
    core = [obj for obj in rendered(name, tmp_path) if obj["kind"] not in FOREIGN]
    assert len(core) > 15
    for obj in core:
        kubernetes_validate.validate(obj, version, strict=True)


def test_the_schemas_refuse_a_field_that_does_not_exist():
    obj = next(obj for obj in render(K8S / "overlays/dev") if obj["kind"] == "Deployment")
    obj["spec"]["template"]["spec"]["containers"][0]["resuorces"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="resuorces"):
        kubernetes_validate.validate(obj, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_every_object_keeps_to_the_policies(name, tmp_path):
    assert problems(rendered(name, tmp_path)) == []


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_no_object_is_there_twice(name, tmp_path):
    names = [(obj["kind"], obj["metadata"]["name"]) for obj in rendered(name, tmp_path)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pods_of_flink_fit_the_schema_of_a_pod(version, tmp_path):
    made = pods([flink(tmp_path)])
    assert [pod.replicas for pod in made] == [1, 2]
    for pod in made:
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod.spec}, version, strict=True
        )


def test_the_version_of_flink_is_one_that_this_beam_has_a_job_server_for(tmp_path):
    spec = flink(tmp_path)["spec"]
    version = ".".join(spec["image"].removeprefix("flink:").split(".")[:2])
    assert version in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    assert spec["flinkVersion"] == f"v{version.replace('.', '_')}"
    dockerfile = (K8S / "images/flink-client/Dockerfile").read_text()
    assert f"FROM apache/beam_flink{version}_job_server:{beam_version}@" in dockerfile


def test_the_worker_pool_of_flink_has_the_projects_version_and_the_paths_of_the_steps(tmp_path):
    (pool,) = [c for pod in pods([flink(tmp_path)]) for c in pod.containers() if c["name"] == "worker-pool"]
    project = tomllib.loads((K8S.parent / "pyproject.toml").read_text())["project"]
    assert pool["image"] == f"clickrank:{project['version']}"
    mounts = {
        pod.owner.split()[-1]: {m["mountPath"] for m in c["volumeMounts"] if m["name"] == "root"}
        for pod in pods([flink(tmp_path)])
        for c in pod.containers()
    }
    assert mounts == {"jobManager": {"/clickrank"}, "taskManager": {"/clickrank"}}
    assert str(POOL_PORT) in pool["livenessProbe"]["exec"]["command"][-1]


def test_the_network_policies_name_the_ports_that_flink_is_told(tmp_path):
    objects = with_component("flink", tmp_path)
    told = flink(tmp_path)["spec"]["flinkConfiguration"]
    ports = {
        (obj["metadata"]["name"], way): {port["port"] for rule in obj["spec"].get(way, []) for port in rule["ports"]}
        for obj in objects
        if obj["kind"] == "NetworkPolicy" and obj["metadata"]["name"].startswith("flink-")
        for way in ("ingress", "egress")
    }
    rpc, blob, rest = (int(told[key]) for key in ("jobmanager.rpc.port", "blob.server.port", "rest.port"))
    task, data = (int(told[key]) for key in ("taskmanager.rpc.port", "taskmanager.data.port"))
    metrics = int(told["metrics.internal.query-service.port"])
    assert ports == {
        ("flink-jobmanager", "ingress"): {rest, rpc, blob},
        ("flink-jobmanager", "egress"): {task, metrics},
        ("flink-taskmanager", "ingress"): {task, metrics, data},
        ("flink-taskmanager", "egress"): {rpc, blob, data},
        ("flink-client", "ingress"): set(),
        ("flink-client", "egress"): {rest},
    }


def test_the_overlays_change_what_they_say():
    of = {name: {(obj["kind"], obj["metadata"]["name"]): obj for obj in render(K8S / "overlays" / name)} for name in OVERLAYS}
    gpus = {name: of[name]["ResourceQuota", "clickrank"]["spec"]["hard"]["requests.nvidia.com/gpu"] for name in OVERLAYS}
    assert gpus == {"dev": "0", "gpu": "4", "prod": "4"}
    assert [of[name]["Deployment", "clickrank-serving"]["spec"]["replicas"] for name in OVERLAYS] == [1, 1, 3]
    assert of["dev"]["PersistentVolumeClaim", "clickrank-root"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert of["prod"]["PersistentVolumeClaim", "clickrank-root"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert ("Namespace", "clickrank-dev") in of["dev"]
    assert of["dev"]["RoleBinding", "clickrank-pipeline"]["subjects"][0]["namespace"] == "clickrank-dev"


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed: the renderer is not compared with it")
@pytest.mark.parametrize("name", OVERLAYS)
def test_the_renderer_makes_what_kubectl_makes(name):
    done = subprocess.run(["kubectl", "kustomize", K8S / "overlays" / name], capture_output=True, text=True, check=True)
    theirs = {(obj["kind"], obj["metadata"]["name"]): obj for obj in yaml.safe_load_all(done.stdout)}
    assert {(obj["kind"], obj["metadata"]["name"]): obj for obj in render(K8S / "overlays" / name)} == theirs


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "replace", "path": "/a/b~1c", "value": 2}, {"a": {"b/c": 2}, "l": [1, 2]}),
        ({"op": "add", "path": "/a/n", "value": 3}, {"a": {"b/c": 1, "n": 3}, "l": [1, 2]}),
        ({"op": "remove", "path": "/l/0"}, {"a": {"b/c": 1}, "l": [2]}),
        ({"op": "add", "path": "/l/0", "value": 0}, {"a": {"b/c": 1}, "l": [0, 1, 2]}),
        ({"op": "add", "path": "/l/-", "value": 3}, {"a": {"b/c": 1}, "l": [1, 2, 3]}),
    ],
)
def test_a_patch_changes_what_it_names(operation, result):
    obj = {"a": {"b/c": 1}, "l": [1, 2]}
    patch(obj, **operation)
    assert obj == result


def test_a_patch_of_what_is_not_there_and_an_unknown_word_are_errors(tmp_path):
    with pytest.raises(KeyError):
        patch({"a": 1}, op="replace", path="/b", value=1)
    (tmp_path / "kustomization.yaml").write_text("commonLabels: {a: b}\n")
    with pytest.raises(ValueError, match="commonLabels"):
        render(tmp_path)
    (tmp_path / "kustomization.yaml").write_text("patches: [{target: {kind: Pod, name: p}, patch: '[]'}]\n")
    with pytest.raises(ValueError, match="to patch"):
        render(tmp_path)
