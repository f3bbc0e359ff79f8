"""The configuration for a cluster names what the manifests make."""

import pytest
import yaml

from pipeline.config import load_config
from pipeline.kubeflow.compile import LABELS
from tests.k8s.policies import needed, selects
from tests.k8s.quantities import quantity
from tests.k8s.render import K8S, load, render

FILE = K8S.parent / "configs/cluster.yaml"


@pytest.fixture(scope="module")
def config():
    return load_config([FILE])


@pytest.fixture(scope="module")
def objects():
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in render(K8S / "overlays/prod")}


def test_runs_are_in_the_namespace_under_the_account_that_is_there(config, objects):
    api = config.kubeflow.api
    assert ("Namespace", api.namespace) in objects
    assert ("ServiceAccount", api.service_account) in objects


def test_every_claim_is_there(config, objects):
    assert config.kubeflow.volumes
    for volume in config.kubeflow.volumes:
        assert ("PersistentVolumeClaim", volume.claim) in objects


def test_the_model_server_reads_where_the_pipeline_pushes(config, objects):
    (container,) = objects["Deployment", "clickrank-serving"]["spec"]["template"]["spec"]["containers"]
    (volume,) = config.kubeflow.volumes
    # The root is the top of the claim, as in docs/kubeflow.md.
    assert f"--model_base_path={volume.mount_path}/serving" in container["args"]


def test_the_metadata_store_is_the_database_that_is_there(config, objects):
    metadata = config.metadata
    service = objects["Service", metadata.host]["spec"]
    assert [port["port"] for port in service["ports"]] == [metadata.port]
    pod = objects["StatefulSet", metadata.host]["spec"]["template"]["spec"]
    environment = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
    assert environment["MARIADB_DATABASE"] == metadata.database
    assert environment["MARIADB_USER"] == metadata.user
    (secret,) = config.kubeflow.pod.secrets
    (volume,) = [volume for volume in pod["volumes"] if "secret" in volume]
    assert secret.name == volume["secret"]["secretName"]
    assert secret.keys == {environment["MARIADB_PASSWORD_FILE"].rpartition("/")[2]: metadata.password_variable}


def test_every_pod_is_within_the_limit_range(config, objects):
    most = objects["LimitRange", "clickrank"]["spec"]["limits"][0]["max"]
    for node in ("ClickExampleGen", *config.kubeflow.nodes):
        pod = config.kubeflow.pod_of(node)
        assert quantity(pod.cpu_limit) <= quantity(most["cpu"])
        assert quantity(pod.memory_limit) <= quantity(most["memory"])


def test_a_step_may_fill_its_scratch_volume(config, objects):
    # Kubeflow lets no step say what it takes of a node's disk, and a pod is evicted that takes more than its containers' limits.
    by_default = objects["LimitRange", "clickrank"]["spec"]["limits"][0]["default"]["ephemeral-storage"]
    for node in ("ClickExampleGen", *config.kubeflow.nodes):
        assert quantity(config.kubeflow.pod_of(node).scratch) < quantity(by_default)


def test_the_example_of_a_training_job_fits_the_quota(objects):
    text = (K8S.parent / "docs/training-jobs.md").read_text()
    section = text.split("## Configure it")[1].split("```yaml")[1].split("```")[0]
    job, trainer = (yaml.safe_load(section)[name] for name in ("training_job", "trainer"))
    step = load_config([FILE]).kubeflow.pod_of("Trainer")
    others, hard = needed(list(objects.values())), objects["ResourceQuota", "clickrank"]["spec"]["hard"]
    for kind in ("request", "limit"):
        for resource in ("cpu", "memory"):
            key = f"{kind}_{resource}".replace("request_", "requests.").replace("limit_", "limits.")
            pods = trainer["workers"] * quantity(job[f"{resource}_{kind}"]) + quantity(getattr(step, f"{resource}_{kind}"))
            assert others[key] + pods <= quantity(hard[key]), key
    assert trainer["workers"] * job["gpus"] <= quantity(hard["requests.nvidia.com/gpu"])


# Argo labels all pods of a workflow; those that Kubeflow makes before each step (drivers) do not have the labels of steps.
OF_A_WORKFLOW = {"workflows.argoproj.io/workflow": "clickrank-x2c4v"}


@pytest.mark.parametrize("labels", [OF_A_WORKFLOW, OF_A_WORKFLOW | LABELS])
def test_all_pods_of_a_workflow_reach_kubeflow_and_kubernetes(objects, labels):
    reached = outgoing(objects, labels)
    assert {("namespace kubeflow", port) for port in (8887, 8888, 8080, 9000, 8333)} <= reached
    assert {("0.0.0.0/0", 443), ("0.0.0.0/0", 6443)} <= reached


def test_only_steps_reach_the_metadata_store(objects):
    assert ("pods mlmd", 3306) in outgoing(objects, OF_A_WORKFLOW | LABELS)
    assert ("pods mlmd", 3306) not in outgoing(objects, OF_A_WORKFLOW)


def outgoing(objects, labels):
    """(where to, port) of all that the network policies allow a pod with these labels."""
    found = set()
    for (kind, _), policy in objects.items():
        if kind == "NetworkPolicy" and selects(policy["spec"]["podSelector"], labels):
            for rule in policy["spec"].get("egress", []):
                found |= {(peer_name(peer), port["port"]) for peer in rule["to"] for port in rule["ports"]}
    return found


def peer_name(peer):
    if "ipBlock" in peer:
        return peer["ipBlock"]["cidr"]
    if "namespaceSelector" in peer:
        return f"namespace {peer['namespaceSelector']['matchLabels']['kubernetes.io/metadata.name']}"
    return f"pods {peer['podSelector']['matchLabels']['app.kubernetes.io/component']}"


def test_the_recurring_run_has_it_from_within_the_cluster(config):
    (within,) = [obj for obj in load(K8S / "components/recurring-run/submit.yaml") if obj["kind"] == "ConfigMap"]
    tree = yaml.safe_load(within["data"]["config.yaml"])
    address = tree["kubeflow"]["api"].pop("endpoint")
    assert address.startswith("http://ml-pipeline.kubeflow:")
    without = yaml.safe_load(FILE.read_text())
    del without["kubeflow"]["api"]["endpoint"]
    assert tree == without
