"""What `kubectl kustomize` makes of the kustomizations in k8s/, without kubectl.

Knows the few words that they use: namespace, resources, components, and JSON patches with a target of kind and name. Any other
word is an error, so that nothing is passed over.
"""

import copy
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parent.parent.parent / "k8s"
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PersistentVolume", "StorageClass", "PriorityClass"}
WORDS = {"apiVersion", "kind", "namespace", "resources", "components", "patches"}

Object = dict[str, Any]


def render(folder: Path, objects: list[Object] | None = None) -> list[Object]:
    """Returns the objects of a kustomization, or, of a component, `objects` with what it adds and changes.

    Raises:
        ValueError: the kustomization uses a word that is not known here, or a patch has no target.
    """
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := set(kustomization) - WORDS:
        raise ValueError(f"{folder}: unknown {sorted(unknown)}")
    objects = list(objects or [])
    for name in kustomization.get("resources", []):
        objects += render(folder / name) if (folder / name).is_dir() else load(folder / name)
    for name in kustomization.get("components", []):
        objects = render(folder / name, objects)
    for entry in kustomization.get("patches", []):
        found = [
            obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) == (entry["target"]["kind"], entry["target"]["name"])
        ]
        if not found:
            raise ValueError(f"{folder}: no {entry['target']} to patch")
        for obj in found:
            for operation in yaml.safe_load(entry["patch"]):
                patch(obj, **operation)
    if namespace := kustomization.get("namespace"):
        for obj in objects:
            move(obj, namespace)
    return objects


def load(file: Path) -> list[Object]:
    """Returns the objects in a YAML file."""
    return [obj for obj in yaml.safe_load_all(file.read_text()) if obj is not None]


def patch(obj: Object, op: str, path: str, value: Any = None) -> None:
    """Applies one operation of a JSON patch (RFC 6902) in place; `replace` and `remove` need what they name to be there."""
    *way, last = [key.replace("~1", "/").replace("~0", "~") for key in path.removeprefix("/").split("/")]
    at: Any = obj
    for key in way:
        at = at[int(key) if isinstance(at, list) else key]
    key = int(last) if isinstance(at, list) and last != "-" else last
    if op in ("replace", "remove"):
        at[key]
    if op == "remove":
        del at[key]
    elif isinstance(at, list) and op == "add":
        at.insert(len(at) if key == "-" else key, copy.deepcopy(value))
    elif op in ("add", "replace"):
        at[key] = copy.deepcopy(value)
    else:
        raise ValueError(f"unknown operation {op}")


def move(obj: Object, namespace: str) -> None:
    """Puts an object, and the service accounts that it names, into a namespace, in place."""
    if obj["kind"] == "Namespace":
        obj["metadata"]["name"] = namespace
    if obj["kind"] not in CLUSTER_WIDE:
        obj["metadata"]["namespace"] = namespace
    for subject in obj.get("subjects", []):
        if subject["kind"] == "ServiceAccount":
            subject["namespace"] = namespace
