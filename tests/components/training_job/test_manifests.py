"""What is rendered: read by the models of the packages, and held to the policies of the pods in k8s/."""

import copy

import kubernetes_validate
import pytest

from components.trainer.cluster import JOBSET, NODES, PARAMETER_SERVERS, tf_config_from_env
from components.training_job import tfjob, trainjob
from components.training_job.spec import LABELS
from schemas.config import TrainerConfig
from tests.components.training_job.cluster import check_tfjob
from tests.components.training_job.jobs import IMAGE, SERVERS, TWO, make_spec
from tests.k8s.policies import problems
from tests.k8s.render import K8S, load, patch, render
from tests.k8s.test_policies import CONTAINER, GONE, IMAGES, POD

FULL = {
    "gpus": 1,
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes"}],
    "secrets": [{"name": "store", "keys": {"key": "AWS_SECRET_ACCESS_KEY"}}],
    "image_pull_secrets": ["registry"],
    "active_deadline_s": 3600,
    "grace_s": 60,
    "ttl_s": 86400,
    "queue": "training",
    "priority_class": "high",
}


def containers(job):
    return {role: replica["template"]["spec"]["containers"][0] for role, replica in job["spec"]["tfReplicaSpecs"].items()}


@pytest.mark.parametrize("keys", [{}, FULL])
@pytest.mark.parametrize("trainer", [TrainerConfig(strategy="mirrored"), TWO, SERVERS])
def test_a_tfjob_is_what_its_models_know(trainer, keys):
    spec = make_spec(trainer, **keys)
    read = check_tfjob(tfjob.render(spec))
    assert (read.api_version, read.kind, read.metadata.name) == ("kubeflow.org/v1", "TFJob", spec.name)
    assert {role: replica.replicas for role, replica in read.spec.tf_replica_specs.items()} == {
        {"chief": "Chief", "worker": "Worker", "ps": "PS"}[role]: count for role, count in spec.roles
    }
    for replica in read.spec.tf_replica_specs.values():
        assert replica.restart_policy == "ExitCode"
        assert replica.template.metadata.labels == LABELS
        assert replica.template.metadata.annotations == {"sidecar.istio.io/inject": "false"}
        (container,) = replica.template.spec.containers
        assert container.name == "tensorflow"
        assert [(port.name, port.container_port) for port in container.ports] == [("tfjob-port", 2222)]
        assert container.command == ["python3", "-m", "components.training_job.member", spec.work_dir]


def test_the_models_refuse_a_field_that_does_not_exist():
    job = tfjob.render(make_spec())
    job["spec"]["runPolicy"]["backofLimit"] = 3
    with pytest.raises(AssertionError):
        check_tfjob(job)


def test_the_run_policy():
    assert tfjob.render(make_spec())["spec"]["runPolicy"] == {
        "cleanPodPolicy": "Running",
        "backoffLimit": 3,
        "ttlSecondsAfterFinished": 7 * 86400,
        "schedulingPolicy": {"minAvailable": 2},
    }
    trainer = TrainerConfig(strategy="parameter_server", workers=2, max_restarts=7)
    assert tfjob.render(make_spec(trainer, **FULL))["spec"]["runPolicy"] == {
        "cleanPodPolicy": "Running",
        "backoffLimit": 7,
        "activeDeadlineSeconds": 3600,
        "ttlSecondsAfterFinished": 86400,
        "schedulingPolicy": {"minAvailable": 4, "queue": "training", "priorityClass": "high"},
    }


def test_what_the_pods_get():
    job = tfjob.render(make_spec(SERVERS, **FULL))
    pods = {role: replica["template"]["spec"] for role, replica in job["spec"]["tfReplicaSpecs"].items()}
    sizes = {"cpu": "1", "memory": "4Gi", "ephemeral-storage": "2Gi"}
    for role, pod in pods.items():
        gpu = {"nvidia.com/gpu": "1"} if role == "Worker" else {}
        assert pod["containers"][0]["resources"] == {"requests": sizes | gpu, "limits": sizes | {"cpu": "2"} | gpu}
        assert pod["nodeSelector"] == {"pool": "gpu"}
        assert pod["tolerations"] == [{"key": "gpu", "operator": "Equal", "value": "yes"}]
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["priorityClassName"] == "high"
        assert pod["terminationGracePeriodSeconds"] == 60
        variables = {variable["name"]: variable for variable in pod["containers"][0]["env"]}
        assert variables["AWS_SECRET_ACCESS_KEY"]["valueFrom"] == {"secretKeyRef": {"name": "store", "key": "key"}}


def test_a_claim_that_is_mounted_twice_is_one_volume():
    volumes = [
        {"claim": "clickrank-root", "mount_path": "/clickrank"},
        {"claim": "logs", "mount_path": "/logs"},
        {"claim": "clickrank-root", "mount_path": "/data", "sub_path": "data"},
    ]
    pod = tfjob.render(make_spec(volumes=volumes))["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    assert [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"][:-1]] == ["clickrank-root", "logs"]
    assert pod["containers"][0]["volumeMounts"] == [
        {"name": "claim-0", "mountPath": "/clickrank"},
        {"name": "claim-1", "mountPath": "/logs"},
        {"name": "claim-0", "mountPath": "/data", "subPath": "data"},
        {"name": "scratch", "mountPath": "/tmp"},
    ]


@pytest.mark.parametrize(
    ("trainer", "given"), [(TrainerConfig(strategy="multi_worker"), True), (TrainerConfig(), False), (TWO, False)]
)
def test_a_single_pod_of_a_strategy_for_clusters_is_told_that_it_is_alone(trainer, given):
    """The operator sets TF_CONFIG where there are more."""
    (container,) = containers(tfjob.render(make_spec(trainer))).values()
    assert ("TF_CONFIG" in {variable["name"] for variable in container["env"]}) == given


@pytest.fixture(scope="module")
def applied():
    """The overlay gpu with the TrainingRuntime, and a TFJob as the Trainer makes it."""
    objects = render(K8S / "components/training-runtime", render(K8S / "overlays/gpu"))
    for obj in [*objects, job := tfjob.render(make_spec(SERVERS, **FULL))]:
        if obj["kind"] != "Namespace":
            obj["metadata"]["namespace"] = "clickrank"
    return [*objects, job]


def test_the_pods_keep_to_the_policies(applied):
    assert problems(applied) == []


TEMPLATES = {
    "TFJob": "/spec/tfReplicaSpecs/Worker/template",
    "TrainingRuntime": "/spec/template/spec/replicatedJobs/0/template/spec/template",
}


def mutations():
    for kind, template in TEMPLATES.items():
        yield from ((kind, f"{template}/spec{path}", value, said) for path, value, said in POD)
        of_container = [
            row for row in CONTAINER if kind == "TFJob" or not row[2].startswith("requests.")
        ]  # it takes nothing itself
        yield from ((kind, f"{template}/spec/containers/0{path}", value, said) for path, value, said in of_container)
        yield (kind, f"{template}/metadata/labels", {"a": "b"}, "no network policy of its own")
    yield from (("TFJob", f"{TEMPLATES['TFJob']}/spec/containers/0/image", value, said) for value, said in IMAGES)


@pytest.mark.parametrize(("kind", "path", "value", "said"), list(mutations()))
def test_a_changed_field_of_the_pods_is_found(applied, kind, path, value, said):
    objects = copy.deepcopy(applied)
    obj = next(obj for obj in objects if obj["kind"] == kind)
    if value is GONE:
        patch(obj, op="remove", path=path)
    else:
        patch(obj, op="replace" if path.rsplit("/", 1)[1].isdigit() else "add", path=path, value=value)
    found = problems(objects)
    assert any(said in problem for problem in found), found


@pytest.fixture(scope="module")
def runtime():
    (obj,) = load(K8S / "components/training-runtime/training-runtime.yaml")
    return obj


def test_the_runtimes_job_fits_kubernetes_own_schema(runtime):
    job = copy.deepcopy(runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"])
    for version in ("1.30", kubernetes_validate.latest_version()):
        kubernetes_validate.validate({"apiVersion": "batch/v1", "kind": "Job", **job}, version, strict=True)


def test_the_runtimes_pods_are_those_that_the_defaults_describe(runtime):
    """A trainjob cannot change them, so the section's defaults must not say otherwise."""
    spec = make_spec(kind="trainjob")
    assert trainjob.render(spec)["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    theirs = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    ours = tfjob.render(spec)["spec"]["tfReplicaSpecs"]["Worker"]["template"]
    assert theirs["metadata"] == ours["metadata"]
    same = ("serviceAccountName", "automountServiceAccountToken", "terminationGracePeriodSeconds", "securityContext")
    assert {key: theirs["spec"][key] for key in same} == {key: ours["spec"][key] for key in same}
    for key in ("securityContext", "terminationMessagePolicy"):
        assert theirs["spec"]["containers"][0][key] == ours["spec"]["containers"][0][key]
    assert theirs["spec"]["volumes"][-1] == ours["spec"]["volumes"][-1]


@pytest.mark.parametrize(("trainer", "pods"), [(TrainerConfig(), 1), (TWO, 2), (SERVERS, 4)])
def test_a_trainjob(trainer, pods):
    spec = make_spec(trainer, kind="trainjob", active_deadline_s=60)
    job = trainjob.render(spec)
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob", spec.name)
    assert job["spec"]["activeDeadlineSeconds"] == 60
    trainer_ = job["spec"]["trainer"]
    assert (trainer_["image"], trainer_["numNodes"]) == (IMAGE, pods)
    assert trainer_["command"][-1] == spec.work_dir
    assert trainer_["resourcesPerNode"]["limits"] == {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "2Gi"}


@pytest.mark.parametrize("trainer", [TWO, SERVERS])
def test_the_pods_of_a_trainjob_find_their_cluster(trainer, runtime):
    """With what Kubernetes and JobSet set in them: their index, and the label that the runtime turns into a variable."""
    spec = make_spec(trainer, kind="trainjob")
    (from_label,) = runtime["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][
        0
    ]["env"]
    assert from_label["name"] == JOBSET
    key = from_label["valueFrom"]["fieldRef"]["fieldPath"]
    told = {variable["name"]: variable.get("value", "") for variable in trainjob.render(spec)["spec"]["trainer"]["env"]}
    assert (told[NODES], told[PARAMETER_SERVERS]) == (str(len(spec.members)), str(spec.parameter_servers))
    for index, name in enumerate(spec.members):
        labels = {"jobset.sigs.k8s.io/jobset-name": spec.name, "batch.kubernetes.io/job-completion-index": str(index)}
        found = tf_config_from_env({**told, JOBSET: labels[key.split("'")[1]], "JOB_COMPLETION_INDEX": str(index)})
        assert '"type": "{}", "index": {}'.format(*name.split("-")) in found
        assert trainjob.member(labels, spec) == name
        assert f"{spec.name}-node-0-{index}.{spec.name}:2222" in found
