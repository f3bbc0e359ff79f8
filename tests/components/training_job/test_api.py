"""The real client against the stand-in: faults, refusals, watches."""

import re
from types import SimpleNamespace

import pytest

from components.training_job import tfjob, trainjob
from components.training_job.api import Api, ExistsError, ExpiredError, UnreachableError
from schemas.errors import ConfigError, RemoteError
from tests.components.training_job.cluster import NAMESPACE, Fault
from tests.components.training_job.jobs import TWO, make_spec

NAME = make_spec().name


@pytest.fixture
def api(cluster):
    return Api(tfjob, patience_s=2.0, pause_s=0.02)


def manifest(kind=tfjob):
    return kind.render(make_spec(TWO, kind=kind.KIND.lower()))


def pod(name, index=0):
    labels = {"training.kubeflow.org/job-name": NAME, "training.kubeflow.org/replica-type": "worker"}
    labels["training.kubeflow.org/replica-index"] = str(index)
    spec = {"containers": [{"name": "tensorflow"}]}
    return {"metadata": {"name": name, "uid": name, "labels": labels}, "spec": spec, "status": {"phase": "Running"}}


@pytest.mark.parametrize("kind", [tfjob, trainjob])
def test_a_job_is_made_found_and_deleted(cluster, kind):
    api = Api(kind)
    assert (api.namespace, api.get(NAME)) == (NAMESPACE, None)
    api.create(manifest(kind))
    assert api.get(NAME)["kind"] == kind.KIND
    with pytest.raises(ExistsError):
        api.create(manifest(kind))
    api.delete(NAME)
    api.delete(NAME)
    assert api.get(NAME)["metadata"]["deletionTimestamp"]
    del cluster.jobs[NAME]
    api.delete(NAME)


def test_the_namespace_of_the_configuration_wins(cluster):
    assert Api(tfjob, "other").namespace == "other"
    with pytest.raises(RemoteError, match=r"cannot get a TFJob in namespace other: 403 .*k8s/base/roles.yaml has the role"):
        Api(tfjob, "other").get(NAME)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
@pytest.mark.parametrize("verb", ["create", "get", "delete", "list"])
def test_a_fault_of_the_moment_is_tried_again(cluster, api, verb, status):
    cluster.jobs[NAME] = manifest()
    if verb == "create":
        cluster.jobs.clear()
    resource = "pods" if verb == "list" else "tfjobs"
    cluster.faults.append(Fault(verb, resource, status, times=3))
    {"create": lambda: api.create(manifest()), "list": lambda: api.list_pods(NAME)}.get(verb, lambda: getattr(api, verb)(NAME))()
    assert cluster.calls.count((verb, resource)) == 4


def test_a_create_whose_answer_was_lost_finds_its_own_job(cluster, api):
    cluster.faults.append(Fault("create", "tfjobs", 0, late=True))
    with pytest.raises(ExistsError):
        api.create(manifest())
    assert list(cluster.jobs) == [NAME]


@pytest.mark.parametrize(("status", "said"), [(503, "503 "), (0, "ProtocolError|RemoteDisconnected")])
def test_a_fault_that_lasts_is_told(cluster, api, status, said):
    cluster.faults.append(Fault("get", "tfjobs", status, times=10**6))
    with pytest.raises(
        UnreachableError, match=rf"Kubernetes at http://127.0.0.1:\d+: cannot get a TFJob: .*({said}).*; run again to go on"
    ):
        api.get(NAME)
    assert len(cluster.calls) > 3


def test_nobody_listens(cluster, api):
    cluster.server.shutdown()
    cluster.server.server_close()
    with pytest.raises(UnreachableError, match="Connection refused"):
        api.get(NAME)


@pytest.mark.parametrize("status", [400, 403, 409, 422])
def test_what_does_not_pass_by_itself_is_not_tried_again(cluster, api, status):
    cluster.faults.append(Fault("get", "tfjobs", status))
    with pytest.raises(RemoteError, match=f"cannot get a TFJob in namespace clickrank: {status} "):
        api.get(NAME)
    assert cluster.calls == [("get", "tfjobs")]


def test_a_page_in_the_place_of_an_answer_is_not_shown(cluster, api):
    cluster.faults.append(Fault("get", "tfjobs", 403, body="<html>" + 5000 * "log in" + "</html>"))
    with pytest.raises(RemoteError) as caught:
        api.get(NAME)
    assert "html" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_token_that_is_not_accepted(cluster, tmp_path, monkeypatch):
    (tmp_path / "config").write_text(cluster.kubeconfig(token="hush-4711"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    with pytest.raises(RemoteError, match=r"401 .*; the token is not accepted") as caught:
        Api(tfjob).get(NAME)
    assert "hush" not in str(caught.value)


def test_a_cluster_without_the_operator(cluster, monkeypatch):
    absent = SimpleNamespace(**{**vars(tfjob), "PLURAL": "mpijobs"})
    with pytest.raises(RemoteError, match=re.escape("there is no mpijobs.kubeflow.org/v1: is the operator installed?")):
        Api(absent).create(manifest())


@pytest.mark.parametrize("text", [None, "{", "apiVersion: v1\nkind: Config\n"])
def test_no_cluster_at_all(tmp_path, monkeypatch, text):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "config"
    if text:
        file.write_text(text)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    with pytest.raises(ConfigError, match="training_job needs a Kubernetes cluster: "):
        Api(tfjob)


def test_in_a_pod_without_a_token(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ConfigError, match="training_job needs a Kubernetes cluster: "):
        Api(tfjob)


def test_pods_are_listed_and_watched_by_their_job(cluster, api):
    cluster.put_pod(pod("a"), "ADDED")
    other = pod("b")
    other["metadata"]["labels"]["training.kubeflow.org/job-name"] = "other"
    cluster.put_pod(other, "ADDED")
    found, version = api.list_pods(NAME)
    assert [obj["metadata"]["name"] for obj in found] == ["a"]
    cluster.put_pod(pod("c", 1), "ADDED")
    cluster.put_pod(other)
    cluster.drop_pod("a")
    events = [(kind, obj["metadata"]["name"]) for kind, obj in api.watch_pods(NAME, version, 1)]
    assert events == [("ADDED", "c"), ("DELETED", "a")]


@pytest.mark.parametrize("status", [410, 500, 0])
def test_a_watch_that_breaks_asks_for_a_new_list(cluster, api, status):
    version = api.list_pods(NAME)[1]
    cluster.faults.append(Fault("watch", "pods", status))
    with pytest.raises(ExpiredError):
        list(api.watch_pods(NAME, version, 1))
    assert list(api.watch_pods(NAME, version, 1)) == []


def test_a_watch_from_too_far_back(cluster, api):
    version = api.list_pods(NAME)[1]
    cluster.oldest = int(version) + 1
    with pytest.raises(ExpiredError):
        list(api.watch_pods(NAME, version, 1))


def test_a_watch_that_is_refused(cluster, api):
    cluster.rules = [rule for rule in cluster.rules if "pods" not in rule["resources"]]
    with pytest.raises(RemoteError, match=r"cannot watch pods of a TFJob .*403"):
        list(api.watch_pods(NAME, "1", 1))


def test_a_log_is_read_to_the_end_of_its_pod(cluster, api):
    cluster.put_pod(pod("a"), "ADDED")
    cluster.pods["a"].log += ["2026-01-01T00:00:00Z one", "2026-01-01T00:00:01Z zwölf"]
    lines = api.read_log("a")
    assert next(lines) == "2026-01-01T00:00:00Z one"
    cluster.pods["a"].obj["status"]["phase"] = "Succeeded"
    assert list(lines) == ["2026-01-01T00:00:01Z zwölf"]


@pytest.mark.parametrize("status", [400, 403, 404, 500, 0])
def test_a_log_that_cannot_be_read_is_empty(cluster, api, status):
    cluster.put_pod(pod("a"), "ADDED")
    cluster.faults.append(Fault("get", "pods/log", status))
    assert list(api.read_log("a")) == []
    assert list(api.read_log("gone")) == []
