"""What must hold for all that k8s/ puts into a namespace, as functions from objects to sentences about what is wrong."""

from collections.abc import Iterator

from tests.k8s.pods import SECRET_NAME, Object, of_containers, of_pod, of_secrets, pods
from tests.k8s.quantities import quantity

SECURITY_LABELS = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
# Of these a role may name single objects only, and read them.
GUARDED = {"secrets", "configmaps"}
NEVER = {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "roles", "rolebindings", "clusterroles", "nodes"}
QUOTAS = ("pods", "requests.cpu", "limits.cpu", "requests.memory", "limits.memory", "requests.storage", "requests.nvidia.com/gpu")


def problems(objects: list[Object]) -> list[str]:
    """Returns every sentence about what is wrong with objects that are applied together."""
    found: list[str] = []
    for check in (of_namespace, of_accounts, of_network, of_secret_values, of_references, of_schedules, of_room):
        found += check(objects)
    for pod in pods(objects):
        for problem in [*of_pod(pod), *of_containers(pod), *of_secrets(pod)]:
            found.append(f"{pod.owner}: {problem}")
    return found


def of_namespace(objects: list[Object]) -> Iterator[str]:
    """One namespace, with the labels of the restricted profile, and everything in it."""
    spaces = [obj["metadata"] for obj in objects if obj["kind"] == "Namespace"]
    if len(spaces) != 1:
        yield f"{len(spaces)} namespaces"
    for space in spaces:
        for label, value in SECURITY_LABELS.items():
            if space.get("labels", {}).get(label) != value:
                yield f"namespace {space['name']}: {label} is not {value}"
    for obj in objects:
        if obj["kind"] != "Namespace" and obj["metadata"].get("namespace") not in [space["name"] for space in spaces]:
            yield f"{obj['kind']} {obj['metadata']['name']} is in no namespace of ours"


def of_accounts(objects: list[Object]) -> Iterator[str]:
    """Service accounts exist; a token is mounted only where a role needs it; roles are narrow, and of this namespace alone."""
    accounts = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "ServiceAccount"}
    roles = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "Role"}
    bindings = [obj for obj in objects if obj["kind"] == "RoleBinding"]
    # Rights that Kubeflow Pipelines asks about need no token for Kubernetes.
    asking = {
        name for name, role in roles.items() if any(rule["apiGroups"] != ["pipelines.kubeflow.org"] for rule in role["rules"])
    }
    bound = {subject["name"] for binding in bindings for subject in binding["subjects"] if binding["roleRef"]["name"] in asking}
    for obj in objects:
        if obj["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{obj['kind']} {obj['metadata']['name']}: rights beyond the namespace"
    for binding in bindings:
        if binding["roleRef"]["kind"] != "Role" or binding["roleRef"]["name"] not in roles:
            yield f"RoleBinding {binding['metadata']['name']}: {binding['roleRef']['name']} is no role of ours"
        for subject in binding["subjects"]:
            if (subject["kind"], subject.get("namespace")) != ("ServiceAccount", binding["metadata"].get("namespace")):
                yield f"RoleBinding {binding['metadata']['name']}: {subject['name']} is no service account of this namespace"
            elif subject["name"] not in accounts:
                yield f"RoleBinding {binding['metadata']['name']}: no service account {subject['name']}"
    for name, account in {"default": {}, **accounts}.items():
        if account.get("automountServiceAccountToken") is not (name in bound):
            yield f"ServiceAccount {name}: automountServiceAccountToken is not {str(name in bound).lower()}"
    for name, role in roles.items():
        for rule in role["rules"]:
            yield from (f"Role {name}: {problem}" for problem in of_rule(rule))
    for pod in pods(objects):
        account = pod.spec.get("serviceAccountName", "default")
        if account == "default" or account not in accounts:
            yield f"{pod.owner}: no service account of its own"
        if account not in bound and pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: automountServiceAccountToken is not false"


def of_rule(rule: Object) -> Iterator[str]:
    """One rule of a role."""
    resources, verbs = set(rule.get("resources", [])), set(rule.get("verbs", []))
    if "*" in {*resources, *verbs, *rule.get("apiGroups", [])}:
        yield "a rule with *"
    if wrong := verbs & {"escalate", "bind", "impersonate", "deletecollection"}:
        yield f"may {sorted(wrong)}"
    if wrong := resources & NEVER:
        yield f"has rights on {sorted(wrong)}"
    if resources & GUARDED and (not rule.get("resourceNames") or verbs != {"get"}):
        yield f"may do more than get named {sorted(resources & GUARDED)}"
    if "pods" in resources and verbs - {"get", "list", "watch"}:
        yield "may change pods"


def of_network(objects: list[Object]) -> Iterator[str]:
    """Nothing is allowed by default; every pod has a policy of its own; no policy lets in everybody or out to everywhere."""
    policies = [obj["spec"] for obj in objects if obj["kind"] == "NetworkPolicy"]
    closed = [spec for spec in policies if not spec["podSelector"] and not spec.get("ingress") and not spec.get("egress")]
    if not any(set(spec.get("policyTypes", [])) == {"Ingress", "Egress"} for spec in closed):
        yield "no policy denies all by default"
    for pod in pods(objects):
        if not any(spec["podSelector"] and selects(spec["podSelector"], pod.labels) for spec in policies):
            yield f"{pod.owner}: no network policy of its own"
    for obj in objects:
        if obj["kind"] != "NetworkPolicy":
            continue
        rules = [(rule, rule.get("from")) for rule in obj["spec"].get("ingress", [])]
        rules += [(rule, rule.get("to")) for rule in obj["spec"].get("egress", [])]
        for rule, peers in rules:
            name = obj["metadata"]["name"]
            if not peers or any(not peer or not any(peer.values()) for peer in peers):
                yield f"NetworkPolicy {name}: a rule for everybody"
            if not rule.get("ports") or any("port" not in port for port in rule["ports"]):
                yield f"NetworkPolicy {name}: a rule for every port"
            for block in [peer["ipBlock"] for peer in peers or [] if "ipBlock" in peer]:
                if block["cidr"].endswith("/0") and "169.254.0.0/16" not in block.get("except", []):
                    yield f"NetworkPolicy {name}: reaches the metadata service of a cloud"


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector takes a pod; of expressions, `In` and `Exists` alone are known."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(
        rule["key"] in labels and (rule["operator"] == "Exists" or labels[rule["key"]] in rule["values"])
        for rule in selector.get("matchExpressions", [])
    )


def of_secret_values(objects: list[Object]) -> Iterator[str]:
    """No object holds a secret's value."""
    for obj in objects:
        if obj["kind"] == "Secret":
            yield f"Secret {obj['metadata']['name']}: a secret's value"
        if obj["kind"] == "ConfigMap":
            yield from (f"ConfigMap {obj['metadata']['name']}: {key}" for key in obj.get("data", {}) if SECRET_NAME.search(key))


def of_references(objects: list[Object]) -> Iterator[str]:
    """A claim that a pod mounts is there; a service or a disruption budget has pods; a service is reached from the inside alone."""
    existing = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "PersistentVolumeClaim"}
    for pod in pods(objects):
        for volume in pod.spec.get("volumes", []):
            if "persistentVolumeClaim" in volume and volume["persistentVolumeClaim"]["claimName"] not in existing:
                yield f"{pod.owner}: no claim {volume['persistentVolumeClaim']['claimName']}"
    for obj in objects:
        name = f"{obj['kind']} {obj['metadata']['name']}"
        if obj["kind"] == "InferenceService":
            claim = obj["spec"]["predictor"]["model"]["storageUri"].removeprefix("pvc://").split("/")[0]
            if claim not in existing:
                yield f"{name}: no claim {claim}"
        if obj["kind"] == "PodDisruptionBudget" and not any(selects(obj["spec"]["selector"], pod.labels) for pod in pods(objects)):
            yield f"{name}: selects no pod"
        if obj["kind"] != "Service":
            continue
        if obj["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{name}: reached from outside"
        behind = [pod for pod in pods(objects) if selects({"matchLabels": obj["spec"]["selector"]}, pod.labels)]
        ports = {port["name"] for pod in behind for container in pod.containers() for port in container.get("ports", [])}
        yield from (f"{name}: no pod has port {p['targetPort']}" for p in obj["spec"]["ports"] if p["targetPort"] not in ports)


def of_schedules(objects: list[Object]) -> Iterator[str]:
    """What is started by a schedule does not pile up, and ends."""
    for obj in objects:
        if obj["kind"] != "CronJob":
            continue
        spec, job = obj["spec"], obj["spec"]["jobTemplate"]["spec"]
        if spec.get("concurrencyPolicy") != "Forbid":
            yield f"CronJob {obj['metadata']['name']}: concurrencyPolicy is not Forbid"
        for fields, where in ((("startingDeadlineSeconds",), spec), (("activeDeadlineSeconds", "backoffLimit"), job)):
            yield from (f"CronJob {obj['metadata']['name']}: no {field}" for field in fields if field not in where)


def of_room(objects: list[Object]) -> Iterator[str]:
    """A quota and a limit range are there, and what is applied fits into them."""
    quotas = [obj["spec"]["hard"] for obj in objects if obj["kind"] == "ResourceQuota"]
    ranges = [limit for obj in objects if obj["kind"] == "LimitRange" for limit in obj["spec"]["limits"]]
    for kind in ("Container", "PersistentVolumeClaim"):
        if not any(limit["type"] == kind and "max" in limit for limit in ranges):
            yield f"no limit range for a {kind}"
    for resource in QUOTAS:
        if not any(resource in hard for hard in quotas):
            yield f"no quota for {resource}"
    need = needed(objects)
    for hard in quotas:
        for resource in sorted(need.keys() & hard.keys()):
            if need[resource] > quantity(hard[resource]):
                yield f"{resource}: {need[resource]:g} needed, quota {hard[resource]}"
    for limit in ranges:
        sizes = {"Container": containers_limits(objects), "PersistentVolumeClaim": claims(objects)}[limit["type"]]
        for resource, most in limit.get("max", {}).items():
            if any(quantity(size.get(resource, 0)) > quantity(most) for size in sizes):
                yield f"{limit['type']}: more {resource} than the limit range's {most}"


def needed(objects: list[Object]) -> dict[str, float]:
    """Returns what the pods and claims take of a quota."""
    need: dict[str, float] = {"pods": 0, "requests.storage": sum(quantity(size["storage"]) for size in claims(objects))}
    for pod in pods(objects):
        need["pods"] += pod.replicas
        for container in pod.containers():
            for part, sizes in container.get("resources", {}).items():
                for resource, size in sizes.items():
                    need[f"{part}.{resource}"] = need.get(f"{part}.{resource}", 0) + pod.replicas * quantity(size)
    return need


def containers_limits(objects: list[Object]) -> list[Object]:
    """Returns the limits of every container."""
    return [container.get("resources", {}).get("limits", {}) for pod in pods(objects) for container in pod.containers()]


def claims(objects: list[Object]) -> list[Object]:
    """Returns the requests of every claim, those of a StatefulSet's replicas included."""
    specs = [obj["spec"] for obj in objects if obj["kind"] == "PersistentVolumeClaim"]
    for obj in [obj for obj in objects if obj["kind"] == "StatefulSet"]:
        specs += obj["spec"].get("replicas", 1) * [template["spec"] for template in obj["spec"].get("volumeClaimTemplates", [])]
    return [spec["resources"]["requests"] for spec in specs]
