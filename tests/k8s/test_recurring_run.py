"""The CronJob that submits: its configuration and its command are ours, and it reaches what it talks to."""

from urllib.parse import urlsplit

import typer.main

from pipeline.cli import app
from pipeline.config import load_config
from tests.k8s.policies import selects
from tests.k8s.render import K8S, load

OBJECTS = {obj["kind"]: obj for obj in load(K8S / "components/recurring-run/submit.yaml")}
POD = OBJECTS["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]


def submitted():
    """The arguments of the command, and its configuration."""
    (container,) = POD["spec"]["containers"]
    name, *words = container["args"]
    command = typer.main.get_command(app).commands[name]
    return command.make_context(name, words).params, container


def configuration(folder):
    file = folder / "config.yaml"
    file.write_text(OBJECTS["ConfigMap"]["data"]["config.yaml"])
    return load_config([file])


def test_the_command_takes_its_arguments_and_its_configuration_from_where_it_is_mounted(tmp_path):
    given, container = submitted()
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    (file,) = given["config"]
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert volumes[mounts[str(file.parent)]]["configMap"]["name"] == OBJECTS["ConfigMap"]["metadata"]["name"]
    assert file.name in OBJECTS["ConfigMap"]["data"]
    claims = {str(volume.mount_path) for volume in configuration(tmp_path).kubeflow.volumes}
    assert all(any(f"{path}/".startswith(f"{claim}/") for claim in claims) for path in (given["data"], given["root"]))


def test_a_pod_that_is_tried_again_submits_the_same_run():
    given, container = submitted()
    (variable,) = container["env"]
    assert given["name"] == f"$({variable['name']})"
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
    assert given["run_id"] is None


def test_the_token_is_where_kubeflows_client_looks_and_for_kubeflow_alone():
    from kfp import client

    _, container = submitted()
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (volume,) = [volume for volume in POD["spec"]["volumes"] if "projected" in volume]
    (source,) = volume["projected"]["sources"]
    assert f"{mounts[volume['name']]}/{source['serviceAccountToken']['path']}" == client.KF_PIPELINES_SA_TOKEN_PATH
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"


def test_it_may_talk_to_the_address_of_its_configuration_and_the_account_of_the_steps_exists(tmp_path):
    api = configuration(tmp_path).kubeflow.api
    address = urlsplit(api.endpoint)
    policy = OBJECTS["NetworkPolicy"]["spec"]
    (rule,) = policy["egress"]
    assert selects(policy["podSelector"], POD["metadata"]["labels"])
    assert [port["port"] for port in rule["ports"]] == [address.port]
    assert rule["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": address.hostname.split(".")[1]}
    assert api.service_account in [obj["metadata"]["name"] for obj in load(K8S / "base/service-accounts.yaml")]
