"""The manifests in k8s/: they parse, fit Kubernetes' own schemas, and keep to the policies. Nothing here needs a cluster."""

import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.k8s.policies import problems
from tests.k8s.render import K8S, load, patch, render

OVERLAYS = ("dev", "gpu", "prod")
# The oldest that docs/kubernetes.md asks for, and the newest that the package knows.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
# Kinds that Kubernetes' own schemas do not have.
FOREIGN = {"InferenceService", "TrainingRuntime"}
# What a user may put into an overlay of their own.
BY_CHOICE = ("kserve", "training-runtime")


def with_component(name: str, folder: Path) -> list[dict]:
    """Renders the base with a component, by a kustomization such as a user would write."""
    words = {"resources": [str(K8S / "base")], "components": [str(K8S / "components" / name)], "namespace": "clickrank"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(words))
    return render(folder)


def rendered(name: str, folder: Path) -> list[dict]:
    return with_component(name, folder) if name in BY_CHOICE else render(K8S / "overlays" / name)


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
@pytest.mark.parametrize("name", [*OVERLAYS, *BY_CHOICE])
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


@pytest.mark.parametrize("name", [*OVERLAYS, *BY_CHOICE])
def test_every_object_keeps_to_the_policies(name, tmp_path):
    assert problems(rendered(name, tmp_path)) == []


@pytest.mark.parametrize("name", [*OVERLAYS, *BY_CHOICE])
def test_no_object_is_there_twice(name, tmp_path):
    names = [(obj["kind"], obj["metadata"]["name"]) for obj in rendered(name, tmp_path)]
    assert len(names) == len(set(names))


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
