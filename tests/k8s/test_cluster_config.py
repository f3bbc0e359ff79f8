"""The configuration for a cluster names what the manifests make."""

import pytest
import yaml

from pipeline.config import load_config
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


def test_the_recurring_run_has_it_from_within_the_cluster(config):
    (within,) = [obj for obj in load(K8S / "components/recurring-run/submit.yaml") if obj["kind"] == "ConfigMap"]
    tree = yaml.safe_load(within["data"]["config.yaml"])
    address = tree["kubeflow"]["api"].pop("endpoint")
    assert address.startswith("http://ml-pipeline.kubeflow:")
    without = yaml.safe_load(FILE.read_text())
    del without["kubeflow"]["api"]["endpoint"]
    assert tree == without
