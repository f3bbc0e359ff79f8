"""Every policy finds what it is for: each field that it looks at is changed, and one sentence more must say so."""

import copy

import pytest

from tests.k8s.pods import wrong_image
from tests.k8s.policies import problems
from tests.k8s.quantities import quantity
from tests.k8s.render import K8S, move, patch, render

FLINK = "FlinkDeployment"
WORKLOADS = {
    "Deployment": ("clickrank-serving", "/spec/template/spec", "/spec/template/spec/containers/0"),
    "StatefulSet": ("clickrank-mlmd", "/spec/template/spec", "/spec/template/spec/containers/0"),
    "InferenceService": ("clickrank", "/spec/predictor", "/spec/predictor/model"),
    "CronJob": ("clickrank-submit", "/spec/jobTemplate/spec/template/spec", "/spec/jobTemplate/spec/template/spec/containers/0"),
}
GONE = object()

# Path from the pod's spec, value (GONE: taken away), what must be said.
POD = [
    ("/securityContext", GONE, "runAsNonRoot is not true"),
    ("/securityContext/runAsNonRoot", False, "runAsNonRoot is not true"),
    ("/securityContext/runAsNonRoot", GONE, "runAsNonRoot is not true"),
    ("/securityContext/runAsUser", 0, "no numeric user"),
    ("/securityContext/runAsUser", GONE, "no numeric user"),
    ("/securityContext/runAsGroup", GONE, "no numeric user"),
    ("/securityContext/seccompProfile/type", "Unconfined", "seccompProfile is not RuntimeDefault"),
    ("/securityContext/seccompProfile", GONE, "seccompProfile is not RuntimeDefault"),
    ("/hostNetwork", True, "hostNetwork is set"),
    ("/hostPID", True, "hostPID is set"),
    ("/hostIPC", True, "hostIPC is set"),
    ("/volumes/0", {"name": "host", "hostPath": {"path": "/"}}, "volume host is of kind ['hostPath']"),
    ("/volumes/0", {"name": "host", "nfs": {"server": "s", "path": "/"}}, "volume host is of kind ['nfs']"),
    ("/volumes/0", {"name": "big", "emptyDir": {}}, "volume big has no sizeLimit"),
    ("/volumes/0", {"name": "root", "persistentVolumeClaim": {"claimName": "other"}}, "no claim other"),
    ("/serviceAccountName", "gone", "no service account of its own"),
    ("/serviceAccountName", "default", "no service account of its own"),
    ("/serviceAccountName", GONE, "no service account of its own"),
    ("/automountServiceAccountToken", True, "automountServiceAccountToken is not false"),
    ("/automountServiceAccountToken", GONE, "automountServiceAccountToken is not false"),
    ("/initContainers", [{"name": "first", "image": "busybox"}], "first: allowPrivilegeEscalation"),
    ("/initContainers", [{"name": "first", "image": "busybox"}], "first: image busybox has neither"),
    ("/initContainers", [{"name": "first", "image": "busybox:1.36.1"}], "first: no memory in limits"),
]
# Path from the container.
CONTAINER = [
    ("/securityContext", GONE, "allowPrivilegeEscalation is not false"),
    ("/securityContext/allowPrivilegeEscalation", True, "allowPrivilegeEscalation is not false"),
    ("/securityContext/allowPrivilegeEscalation", GONE, "allowPrivilegeEscalation is not false"),
    ("/securityContext/readOnlyRootFilesystem", False, "readOnlyRootFilesystem is not true"),
    ("/securityContext/readOnlyRootFilesystem", GONE, "readOnlyRootFilesystem is not true"),
    ("/securityContext/privileged", True, "privileged"),
    ("/securityContext/capabilities", GONE, "capabilities are not dropped"),
    ("/securityContext/capabilities/drop", ["NET_RAW"], "capabilities are not dropped"),
    ("/securityContext/capabilities/add", ["SYS_ADMIN"], "capabilities are not dropped"),
    ("/securityContext/runAsUser", 0, "runs as root"),
    ("/securityContext/runAsNonRoot", False, "runs as root"),
    ("/securityContext/seccompProfile", {"type": "Unconfined"}, "seccompProfile is not RuntimeDefault"),
    ("/ports", [{"name": "grpc", "containerPort": 1, "hostPort": 1}], "hostPort"),
    ("/resources", GONE, "no cpu in requests"),
    *[
        (f"/resources/{part}/{resource}", GONE, f"no {resource} in {part}")
        for part in ("requests", "limits")
        for resource in ("cpu", "memory", "ephemeral-storage")
    ],
    ("/resources/limits/memory", "200Gi", "Container: more memory than the limit range's"),
    ("/resources/requests/cpu", "33", "requests.cpu: "),
    ("/env", [{"name": "DB_PASSWORD", "value": "hunter2"}], "DB_PASSWORD has its value in the manifest"),
    ("/env", [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}], "AWS_SECRET_ACCESS_KEY has its value"),
    ("/args", ["--password=hunter2"], "a secret among the arguments"),
]
IMAGES = [
    ("mariadb", "neither a digest nor an exact version"),
    ("mariadb:latest", "neither a digest nor an exact version"),
    ("mariadb:10", "neither a digest nor an exact version"),
    ("mariadb@sha256:12", "no whole digest"),
    ("registry.example.com/mariadb:10.11.14", "names a registry"),
    ("localhost:5000/mariadb:10.11.14", "names a registry"),
    (GONE, "neither a digest nor an exact version"),
]
# Kind, name, path, value, what must be said.
OTHERS = [
    *[
        ("Namespace", "clickrank", f"/metadata/labels/pod-security.kubernetes.io~1{mode}", value, f"{mode} is not restricted")
        for mode in ("enforce", "audit", "warn")
        for value in ("baseline", GONE)
    ],
    ("Service", "clickrank-mlmd", "/metadata/namespace", "default", "is in no namespace of ours"),
    ("Role", "clickrank-pipeline", "/rules/0/verbs", ["*"], "a rule with *"),
    ("Role", "clickrank-pipeline", "/rules/0/resources", ["*"], "a rule with *"),
    ("Role", "clickrank-pipeline", "/rules/0/apiGroups", ["*"], "a rule with *"),
    ("Role", "clickrank-pipeline", "/rules/0/verbs", ["escalate"], "may ['escalate']"),
    ("Role", "clickrank-pipeline", "/rules/0/resources", ["pods/exec"], "has rights on ['pods/exec']"),
    ("Role", "clickrank-pipeline", "/rules/0/resources", ["rolebindings"], "has rights on ['rolebindings']"),
    ("Role", "clickrank-pipeline", "/rules/1/resourceNames", GONE, "more than get named ['configmaps']"),
    ("Role", "clickrank-pipeline", "/rules/2/resourceNames", GONE, "more than get named ['secrets']"),
    ("Role", "clickrank-pipeline", "/rules/2/verbs", ["get", "list"], "more than get named ['secrets']"),
    ("Role", "clickrank-pipeline", "/rules/5/verbs", ["create"], "may change pods"),
    ("RoleBinding", "clickrank-pipeline", "/roleRef/kind", "ClusterRole", "is no role of ours"),
    ("RoleBinding", "clickrank-pipeline", "/roleRef/name", "cluster-admin", "cluster-admin is no role of ours"),
    ("RoleBinding", "clickrank-pipeline", "/subjects/0/name", "gone", "no service account gone"),
    ("RoleBinding", "clickrank-pipeline", "/subjects/0/namespace", "default", "no service account of this namespace"),
    ("RoleBinding", "clickrank-pipeline", "/subjects/0/kind", "Group", "no service account of this namespace"),
    ("RoleBinding", "clickrank-pipeline", "/kind", "ClusterRoleBinding", "rights beyond the namespace"),
    ("Role", "clickrank-pipeline", "/kind", "ClusterRole", "rights beyond the namespace"),
    *[
        ("ServiceAccount", name, "/automountServiceAccountToken", value, "automountServiceAccountToken is not false")
        for name in ("default", "clickrank-trainer", "clickrank-mlmd", "clickrank-serving", "clickrank-flink", "clickrank-submit")
        for value in (True, GONE)
    ],
    ("ServiceAccount", "clickrank-pipeline", "/automountServiceAccountToken", False, "automountServiceAccountToken is not true"),
    ("NetworkPolicy", "default-deny", "/spec/policyTypes", ["Ingress"], "no policy denies all by default"),
    ("NetworkPolicy", "default-deny", "/spec/egress", [{}], "no policy denies all by default"),
    ("NetworkPolicy", "default-deny", "/spec/podSelector", {"matchLabels": {"a": "b"}}, "no policy denies all by default"),
    ("NetworkPolicy", "mlmd", "/spec/podSelector/matchLabels/app.kubernetes.io~1component", "x", "no network policy of its own"),
    ("NetworkPolicy", "mlmd", "/spec/ingress/0/from", GONE, "mlmd: a rule for everybody"),
    ("NetworkPolicy", "mlmd", "/spec/ingress/0/from/0/podSelector", {}, "mlmd: a rule for everybody"),
    ("NetworkPolicy", "mlmd", "/spec/ingress/0/ports", GONE, "mlmd: a rule for every port"),
    ("NetworkPolicy", "flink-jobmanager", "/spec/ingress/0/from", GONE, "flink-jobmanager: a rule for everybody"),
    ("NetworkPolicy", "flink-jobmanager", "/spec/ingress/0/from/1/podSelector", GONE, "flink-jobmanager: a rule for everybody"),
    ("NetworkPolicy", "flink-taskmanager", "/spec/ingress/1/ports", GONE, "flink-taskmanager: a rule for every port"),
    ("NetworkPolicy", "flink-client", "/spec/egress/0/to/0/podSelector", {}, "flink-client: a rule for everybody"),
    ("NetworkPolicy", "pipeline", "/spec/egress/0/to", [], "pipeline: a rule for everybody"),
    ("NetworkPolicy", "pipeline", "/spec/egress/1/to/0/ipBlock/except", GONE, "reaches the metadata service"),
    ("NetworkPolicy", "dns", "/spec/egress/0/ports/0/port", GONE, "dns: a rule for every port"),
    ("NetworkPolicy", "submit", "/spec/podSelector/matchLabels/app.kubernetes.io~1component", "x", "no network policy of its own"),
    ("CronJob", "clickrank-submit", "/spec/concurrencyPolicy", "Allow", "concurrencyPolicy is not Forbid"),
    ("CronJob", "clickrank-submit", "/spec/concurrencyPolicy", GONE, "concurrencyPolicy is not Forbid"),
    ("CronJob", "clickrank-submit", "/spec/startingDeadlineSeconds", GONE, "no startingDeadlineSeconds"),
    ("CronJob", "clickrank-submit", "/spec/jobTemplate/spec/activeDeadlineSeconds", GONE, "no activeDeadlineSeconds"),
    ("CronJob", "clickrank-submit", "/spec/jobTemplate/spec/backoffLimit", GONE, "no backoffLimit"),
    ("Role", "clickrank-submit", "/rules/0/verbs", ["*"], "a rule with *"),
    # A right in Kubernetes itself would need the token, which is not mounted.
    ("Role", "clickrank-submit", "/rules/0/apiGroups", [""], "clickrank-submit: automountServiceAccountToken is not true"),
    ("Deployment", "clickrank-serving", "/spec/template/metadata/labels", {"a": "b"}, "no network policy of its own"),
    (
        "Deployment",
        "clickrank-serving",
        "/spec/template/metadata/labels",
        {"a": "b"},
        "PodDisruptionBudget clickrank-serving: selects",
    ),
    ("Deployment", "clickrank-serving", "/spec/replicas", 100, "pods: 108 needed"),
    ("Service", "clickrank-serving", "/spec/type", "LoadBalancer", "reached from outside"),
    ("Service", "clickrank-serving", "/spec/ports/0/targetPort", "other", "no pod has port other"),
    ("PersistentVolumeClaim", "clickrank-root", "/spec/resources/requests/storage", "501Gi", "more storage than the limit range's"),
    ("PersistentVolumeClaim", "clickrank-root", "/spec/resources/requests/storage", "590Gi", "requests.storage: "),
    ("StatefulSet", "clickrank-mlmd", "/spec/replicas", 6, "requests.storage: "),
    *[
        ("ResourceQuota", "clickrank", f"/spec/hard/{resource.replace('/', '~1')}", GONE, f"no quota for {resource}")
        for resource in ("pods", "requests.cpu", "limits.cpu", "requests.memory", "limits.memory", "requests.storage")
    ],
    ("ResourceQuota", "clickrank", "/spec/hard/requests.nvidia.com~1gpu", GONE, "no quota for requests.nvidia.com/gpu"),
    ("ResourceQuota", "clickrank", "/spec/hard/limits.memory", "1Gi", "limits.memory: "),
    ("LimitRange", "clickrank", "/spec/limits/0/max", GONE, "no limit range for a Container"),
    ("LimitRange", "clickrank", "/spec/limits/1", GONE, "no limit range for a PersistentVolumeClaim"),
]
ADDED = [
    ({"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}, "Secret s: a secret's value"),
    ({"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"db_password": "b"}}, "ConfigMap c: db_password"),
    ({"kind": "Namespace", "metadata": {"name": "second"}}, "2 namespaces"),
    ({"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}}, "Pod p: no network policy of its own"),
    ({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": []}, "ClusterRole r: rights beyond the namespace"),
    (
        {
            "kind": "CronJob",
            "metadata": {"name": "j"},
            "spec": {"jobTemplate": {"spec": {"template": {"metadata": {}, "spec": {"hostNetwork": True, "containers": []}}}}},
        },
        "CronJob j: hostNetwork is set",
    ),
]


@pytest.fixture(scope="module")
def applied():
    """Everything that may be applied, at once: the overlay prod with all components, KServe's variant beside the Deployment."""
    objects = render(K8S / "overlays/prod")
    objects += [obj for name in ("kserve", "recurring-run", "flink") for obj in render(K8S / "components" / name)]
    for obj in objects:
        if obj["kind"] != "Namespace":
            move(obj, "clickrank")
    assert problems(objects) == []
    return objects


def changed(objects, kind, name, path, value):
    """Returns a copy of the objects in which one object's field has another value, or is taken away."""
    objects = copy.deepcopy(objects)
    (obj,) = [obj for obj in objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name)]
    if value is GONE:
        patch(obj, op="remove", path=path)
    else:
        index = path.rsplit("/", 1)[1].isdigit()
        patch(obj, op="replace" if index else "add", path=path, value=value)
    return objects


def of_flink():
    """The fields of both pods; what the operator puts in is changed where it takes it from."""
    from_operator = ("/serviceAccountName", "/resources/requests/cpu", "/resources/limits/cpu")
    from_operator += ("/resources/requests/memory", "/resources/limits/memory")
    for role, containers in (("jobManager", (0,)), ("taskManager", (0, 1))):
        pod = f"/spec/{role}/podTemplate/spec"
        yield from ((FLINK, "clickrank-flink", pod + path, value, said) for path, value, said in POD if path not in from_operator)
        for number in containers:
            fields = [row for row in CONTAINER if number == 1 or row[0] not in ("/resources", *from_operator)]
            yield from ((FLINK, "clickrank-flink", f"{pod}/containers/{number}{path}", value, said) for path, value, said in fields)
        yield (FLINK, "clickrank-flink", f"{pod}/containers/0/resources", GONE, "no ephemeral-storage in requests")
        yield (
            FLINK,
            "clickrank-flink",
            f"/spec/{role}/resource/memory",
            "204800m",
            "Container: more memory than the limit range's",
        )
        yield (FLINK, "clickrank-flink", f"/spec/{role}/resource/cpu", 33, "requests.cpu: ")
        yield (FLINK, "clickrank-flink", f"/spec/{role}/replicas", 60, "pods: ")
        yield (FLINK, "clickrank-flink", f"/spec/{role}/podTemplate/metadata/labels", {"a": "b"}, "no network policy of its own")
    for value in ("gone", "default", GONE):
        yield (FLINK, "clickrank-flink", "/spec/serviceAccount", value, "no service account of its own")
    for value, said in IMAGES:
        yield (FLINK, "clickrank-flink", "/spec/image", value, said)
        yield (FLINK, "clickrank-flink", "/spec/taskManager/podTemplate/spec/containers/1/image", value, said)


def of_workloads():
    for kind, (name, pod, container) in WORKLOADS.items():
        yield from ((kind, name, pod + path, value, said) for path, value, said in POD)
        yield from ((kind, name, container + path, value, said) for path, value, said in CONTAINER)
        if kind != "InferenceService":
            yield from ((kind, name, f"{container}/image", value, said) for value, said in IMAGES)
    yield from of_flink()
    yield ("InferenceService", "clickrank", "/spec/predictor/model/runtimeVersion", GONE, "neither a digest nor an exact version")
    yield ("InferenceService", "clickrank", "/spec/predictor/model/storageUri", "pvc://gone/serving", "no claim gone")
    yield ("InferenceService", "clickrank", "/metadata/name", "other", "InferenceService other: no network policy of its own")


@pytest.mark.parametrize(("kind", "name", "path", "value", "said"), [*of_workloads(), *OTHERS])
def test_a_changed_field_is_found(applied, kind, name, path, value, said):
    found = problems(changed(applied, kind, name, path, value))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(("obj", "said"), ADDED, ids=lambda part: part["kind"] if isinstance(part, dict) else None)
def test_an_object_that_may_not_be_there_is_found(applied, obj, said):
    assert any(said in problem for problem in problems([*applied, obj]))


@pytest.mark.parametrize(
    "kind", ["Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "ServiceAccount", "PersistentVolumeClaim"]
)
def test_objects_that_are_missing_are_found(applied, kind):
    assert problems([obj for obj in applied if obj["kind"] != kind])


@pytest.mark.parametrize(
    "image",
    ["mariadb:10.11.14", "tensorflow/serving:2.19.1-gpu", "mariadb@sha256:" + 64 * "a", "team/clickrank@sha256:" + 64 * "0"],
)
def test_images_by_digest_and_by_exact_version_pass(image):
    assert wrong_image(image) is None


@pytest.mark.parametrize(("text", "number"), [("100m", 0.1), ("2", 2), (3, 3), ("1Gi", 2**30), ("512Mi", 2**29), ("1.5k", 1500)])
def test_quantities(text, number):
    assert quantity(text) == number


def test_an_unknown_unit_of_a_quantity_is_an_error():
    with pytest.raises((KeyError, ValueError)):
        quantity("3Xi")


@pytest.mark.parametrize(("component", "token"), [("pipeline", {}), ("trainer", {"automountServiceAccountToken": False})])
def test_a_pod_that_kubeflow_makes_as_the_document_says_passes(applied, component, token):
    model = next(obj for obj in applied if obj["kind"] == "Deployment")["spec"]["template"]["spec"]
    labels = {"app.kubernetes.io/part-of": "clickrank", "app.kubernetes.io/component": component}
    spec = {key: model[key] for key in ("securityContext", "containers", "volumes")}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "step", "namespace": "clickrank", "labels": labels},
        "spec": {**spec, **token, "serviceAccountName": f"clickrank-{component}"},
    }
    assert problems([*applied, pod]) == []


def test_a_template_for_both_roles_of_flink_is_not_passed_over(applied):
    with pytest.raises(ValueError, match="both roles"):
        problems(changed(applied, FLINK, "clickrank-flink", "/spec/podTemplate", {"spec": {"hostNetwork": True}}))


def test_a_network_policy_for_one_network_may_name_it_alone(applied):
    assert problems(changed(applied, "NetworkPolicy", "pipeline", "/spec/egress/1/to/0/ipBlock", {"cidr": "10.0.0.0/24"})) == []
