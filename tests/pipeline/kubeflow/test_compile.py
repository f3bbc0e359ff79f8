"""The compiled pipeline: read back by Kubeflow's own protos, and held against the graph and the configuration."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.config import load_config
from pipeline.graph import create_pipeline
from pipeline.kubeflow.compile import compile_pipeline, step_name, to_settings
from pipeline.nodes import NODES, nodes_for
from pipeline.paths import RootPaths
from pipeline.runners import compile_graph, upstream_nodes
from schemas.config import Config
from schemas.errors import ConfigError
from tests.k8s.render import K8S, load

IMAGE = "registry.example/clickrank@sha256:" + "ab" * 32
OTHER = "registry.example/clickrank-gpu@sha256:" + "cd" * 32
PLAIN = (f"kubeflow.pod.image={IMAGE}",)


def compiled(folder, *settings):
    """The pipeline's spec and, by node, its container, task and Kubernetes settings."""
    file = folder / "pipeline.yaml"
    compile_pipeline(file, load_config((), (*PLAIN, *settings)))
    documents = list(yaml.safe_load_all(file.read_text()))
    spec = json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    platform = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if len(documents) > 1 else {}
    steps = {}
    for task in spec.root.dag.tasks.values():
        executor = spec.components[task.component_ref.name].executor_label
        container = spec.deployment_spec["executors"][executor]["container"]
        config = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
        json_format.ParseDict(platform.get(executor, {}), config)
        steps[task.task_info.name] = (json_format.MessageToDict(container), task, json_format.MessageToDict(config))
    return spec, steps


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("plain"))


def test_there_is_a_step_for_each_node_of_the_graph_with_its_dependencies(plain, tmp_path):
    _, steps = plain
    graph = compile_graph(create_pipeline("data", "", RootPaths(tmp_path), Config()), "run")
    upstream = upstream_nodes(graph)
    assert set(upstream) == set(nodes_for(Config()))
    assert upstream["Gate"] == ("LeakAudit", "Trainer", "Resolver", "Evaluator")
    found = {node: set(task.dependent_tasks) for node, (_, task, _) in steps.items()}
    assert found == {node: {step_name(name) for name in before} for node, before in upstream.items()}


def test_the_last_node_comes_after_all_others(plain):
    _, steps = plain
    before = {step_name(node): set(task.dependent_tasks) for node, (_, task, _) in steps.items()}
    reached, new = set(), {step_name(NODES[-1])}
    while new:
        reached |= new
        new = {name for step in new for name in before[step]} - reached
    assert reached == set(before)


@pytest.mark.parametrize(
    ("setting", "nodes"),
    [
        ("audit.in_pipeline=false", set(nodes_for(Config())) - {"LeakAudit"}),
        ("trainer.warm_start=latest_blessed", {*nodes_for(Config()), "WarmStartResolver"}),
    ],
)
def test_the_configuration_shapes_the_graph(tmp_path, setting, nodes):
    assert set(compiled(tmp_path, setting)[1]) == nodes


def test_a_step_runs_its_node_in_the_image_and_kubeflow_caches_nothing(plain):
    spec, steps = plain
    for node, (container, task, _) in steps.items():
        assert container["image"] == IMAGE
        assert "pip install" not in json.dumps(container)
        assert '"-m", "pipeline.cli", "node", node, data, "--root", root' in container["command"][-1]
        assert not task.caching_options.enable_cache
        inputs = task.inputs.parameters
        assert inputs["node"].runtime_value.constant.string_value == node
        # Kubeflow replaces this text by its id of the run, if there is nothing else.
        assert inputs["job"].runtime_value.constant.string_value == "{{$.pipeline_job_uuid}}"
        assert {name: inputs[name].component_input_parameter for name in inputs} == {
            "node": "",
            "settings": "",
            "job": "",
            **{name: name for name in ("data", "root", "run_id", "overrides")},
        }
    parameters = spec.root.input_definitions.parameters
    assert {name: parameter.is_optional for name, parameter in parameters.items()} == {
        "data": False,
        "root": False,
        "run_id": True,
        "overrides": True,
    }


def test_steps_get_the_configuration_that_was_compiled_but_for_what_is_not_theirs(tmp_path):
    settings = ("trainer.seed=7", "model.hidden_units=[16]", "kubeflow.pod.cpu_limit='3'")
    assert settings_of(compiled(tmp_path, *settings)[1]["Trainer"]) == ["model.hidden_units=[16]", "trainer.seed=7"]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("trainer.deep_optimizer={name: sgd, learning_rate: 1.0e-7}", "gate.max_calibration=null"),
        ("features.ctr_min_views={pop_ad_id: 5}", "split.eval_days=[]", "split.eval_fraction=0.2"),
        ("beam={runner: flink, flink_master: 'a:1', job_server_jar: /j.jar, workers: 4}",),
        ("trainer.warm_start='0x10'", "beam.args=['--a=b c', '--d=#e']", "push.directory=/a:b"),
    ],
)
def test_what_the_steps_get_gives_the_same_configuration(settings):
    config = load_config((), settings)
    assert load_config((), to_settings(config)) == config


def settings_of(step):
    return json_format.MessageToDict(step[1].inputs.parameters["settings"])["runtimeValue"]["constant"]


def test_a_training_job_has_the_image_the_volumes_and_the_secrets_of_the_steps(tmp_path):
    volumes = [{"claim": "root", "mount_path": "/root"}]
    steps = compiled(
        tmp_path,
        "training_job.kind=tfjob",
        "training_job.gpus=1",
        f"kubeflow.volumes={json.dumps(volumes)}",
        "kubeflow.image_pull_secrets=[registry]",
        f"kubeflow.nodes.Trainer.image={OTHER}",
    )[1]
    job = load_config((), settings_of(steps["Trainer"])).training_job
    assert (job.kind, job.gpus, job.image, job.image_pull_secrets) == ("tfjob", 1, OTHER, ("registry",))
    assert [volume.model_dump(exclude={"sub_path"}) for volume in job.volumes] == volumes
    assert resources(steps["Trainer"][0]) == {}  # the step itself needs no GPU


def test_what_a_training_job_says_of_its_own_stays(tmp_path):
    own = (
        f"training_job.image={OTHER}",
        "training_job.volumes=[{claim: other, mount_path: /other}]",
        "training_job.image_pull_secrets=[a]",
    )
    steps = compiled(tmp_path, "training_job.kind=tfjob", *own, "kubeflow.image_pull_secrets=[b]")[1]
    job = load_config((), settings_of(steps["Trainer"])).training_job
    assert (job.image, job.volumes[0].claim, job.image_pull_secrets) == (OTHER, "other", ("a",))


@pytest.mark.parametrize("settings", [(), ("training_job.kind=trainjob", "kubeflow.image_pull_secrets=[registry]")])
def test_what_a_training_job_cannot_have_is_not_given_to_it(tmp_path, settings):
    job = load_config((), settings_of(compiled(tmp_path, *settings)[1]["Trainer"])).training_job
    assert job.image_pull_secrets == ()
    assert (job.image is None) == (job.kind == "none")


def test_an_image_by_tag_passes_in_a_training_job_if_it_does_in_the_steps(tmp_path):
    image = "r.example/clickrank:1"
    steps = compiled(tmp_path, "kubeflow.allow_image_tag=true", f"kubeflow.pod.image={image}", "training_job.kind=tfjob")[1]
    assert load_config((), settings_of(steps["Trainer"])).training_job.image == image


def resources(container):
    """Kubeflow writes each resource twice, under an old and a new name; the new ones."""
    found = dict(container.get("resources", {}))
    found |= found.pop("accelerator", {})
    return {name: value for name, value in found.items() if name.startswith("resource")}


def look(step):
    """What the configuration gives a step."""
    container, task, platform = step
    retry = json_format.MessageToDict(task.retry_policy)
    return {"image": container["image"], "resources": resources(container), "retry": retry, "platform": platform}


# Argo makes no retry later than this after the first start, and ends those that run: an hour, the SDK's own, is less than one try.
AT_ANY_TIME = {"backoffFactor": 2.0, "backoffMaxDuration": "31536000s"}


@pytest.mark.parametrize(
    ("setting", "where", "expected"),
    [
        (f"image={OTHER}", "image", OTHER),
        ("cpu_request=500m", "resources", {"resourceCpuRequest": "500m"}),
        ("cpu_limit='2'", "resources", {"resourceCpuLimit": "2"}),
        ("memory_request=8Gi", "resources", {"resourceMemoryRequest": "8Gi"}),
        ("memory_limit=16Gi", "resources", {"resourceMemoryLimit": "16Gi"}),
        ("gpus=2", "resources", {"resourceType": "nvidia.com/gpu", "resourceCount": "2"}),
        ("retries=5", "retry", {"maxRetryCount": 5, "backoffDuration": "60s"} | AT_ANY_TIME),
        ("retries=0", "retry", {}),
        ("backoff_s=10", "retry", {"maxRetryCount": 2, "backoffDuration": "10s"} | AT_ANY_TIME),
        ("timeout_s=3600", "platform", {"activeDeadlineSeconds": "3600"}),
        ("node_selector={pool: big}", "platform", {"nodeSelector": {"labels": {"pool": "big"}}}),
        ("tolerations=[{key: gpu}]", "platform", {"tolerations": [{"key": "gpu", "operator": "Exists"}]}),
        (
            "tolerations=[{key: gpu, operator: Equal, value: 'yes', effect: NoSchedule}]",
            "platform",
            {"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]},
        ),
        (
            "run_as_user=2000",
            "platform",
            {"securityContext": {"runAsUser": "2000", "runAsGroup": "1000", "runAsNonRoot": True}},
        ),
        (
            "run_as_group=2000",
            "platform",
            {"securityContext": {"runAsUser": "1000", "runAsGroup": "2000", "runAsNonRoot": True}},
        ),
        (
            "scratch=20Gi",
            "platform",
            {"emptyDirMounts": [{"volumeName": "scratch", "mountPath": "/tmp", "sizeLimit": "20Gi"}]},
        ),
        (
            "secrets=[{name: mlflow, keys: {token: MLFLOW_TRACKING_TOKEN}}]",
            "platform",
            {
                "secretAsEnv": [
                    {
                        "secretName": "mlflow",
                        "secretNameParameter": {"runtimeValue": {"constant": "mlflow"}},
                        "keyToEnv": [{"secretKey": "token", "envVar": "MLFLOW_TRACKING_TOKEN"}],
                        "optional": False,
                    }
                ]
            },
        ),
    ],
)
def test_a_key_of_the_pod_changes_every_step_or_one_and_nothing_else(tmp_path, plain, setting, where, expected):
    _, before = plain
    _, every = compiled(tmp_path, f"kubeflow.pod.{setting}")
    _, one = compiled(tmp_path, f"kubeflow.nodes.Trainer.{setting}")
    for node, step in before.items():
        plain_look = look(step)
        changed = {**plain_look, where: {**plain_look["platform"], **expected} if where == "platform" else expected}
        assert changed != look(step)
        assert look(every[node]) == changed
        assert look(one[node]) == (changed if node == "Trainer" else look(step))


def test_the_gpus_have_the_name_that_the_cluster_gives_them_and_a_node_can_do_without(tmp_path):
    steps = compiled(tmp_path, "kubeflow.pod.gpus=1", "kubeflow.pod.gpu_type=amd.com/gpu", "kubeflow.nodes.Gate.gpus=0")[1]
    assert resources(steps["Trainer"][0]) == {"resourceType": "amd.com/gpu", "resourceCount": "1"}
    assert resources(steps["Gate"][0]) == {}


def test_all_pods_get_the_volumes_and_the_secrets_of_the_registry(tmp_path, plain):
    settings = ("kubeflow.volumes=[{claim: root, mount_path: /root, sub_path: a}]", "kubeflow.image_pull_secrets=[registry]")
    for node, step in compiled(tmp_path, *settings)[1].items():
        root = {"runtimeValue": {"constant": "root"}}
        platform = {
            "pvcMount": [{"constant": "root", "pvcNameParameter": root, "mountPath": "/root", "subPath": "a"}],
            "imagePullSecret": [{"secretName": "registry", "secretNameParameter": {"runtimeValue": {"constant": "registry"}}}],
        }
        before = look(plain[1][node])
        assert look(step) == {**before, "platform": {**before["platform"], **platform}}


def test_every_pod_has_the_labels_of_the_network_policies_and_a_user_that_is_not_root(plain):
    (policy,) = [obj for obj in load(K8S / "base/network-policies.yaml") if obj["metadata"]["name"] == "pipeline"]
    for _, _, platform in plain[1].values():
        assert platform["podMetadata"]["labels"] == policy["spec"]["podSelector"]["matchLabels"]
        assert platform["securityContext"] == {"runAsUser": "1000", "runAsGroup": "1000", "runAsNonRoot": True}


def test_the_user_may_be_left_to_the_image(tmp_path):
    # An older Kubeflow does not know the key, and refuses it.
    steps = compiled(tmp_path, "kubeflow.pod.run_as_user=null", "kubeflow.pod.run_as_group=null")[1]
    assert all("securityContext" not in platform for _, _, platform in steps.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["kubeflow.pod.image=r.example/clickrank:1"], "image 'r.example/clickrank:1' is not named by its digest"),
        (["kubeflow.pod.image=r.example/clickrank"], "kubeflow.allow_image_tag=true lets it pass"),
        ([f"kubeflow.nodes.Gate.image={IMAGE}0"], "is not named by its digest"),
        (["kubeflow.pod.image=null"], "no image for ClickExampleGen, .*; set kubeflow.pod.image to NAME@sha256:"),
        (["kubeflow.nodes.Trainor.gpus=1"], "kubeflow.nodes: no such node in this pipeline: Trainor; the nodes are "),
        (["kubeflow.nodes.LeakAudit.retries=1", "audit.in_pipeline=false"], "no such node in this pipeline: LeakAudit"),
        (["kubeflow.pod.run_as_user=0"], "kubeflow.pod.run_as_user: .* Received: 0"),
        (["kubeflow.nodes.Trainer.gpu=1"], "unknown config key kubeflow.nodes.Trainer.gpu"),
        (["kubeflow.pod.memory_limit=16GB"], r"kubeflow.pod.memory_limit: .* Received: '16GB'"),
        (["kubeflow.pod.tolerations=[{key: a, operator: Equal}]"], "value is for operator Equal, which needs it"),
        (["kubeflow.volumes=[{claim: a, mount_path: /d}, {claim: b, mount_path: /d/}]"], "volumes: two have the same mount_path"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        compiled(tmp_path, *settings)
    assert not list(tmp_path.iterdir())


def test_a_tag_passes_if_that_is_wanted(tmp_path):
    image = "r.example/clickrank:1"
    settings = ("kubeflow.allow_image_tag=true", f"kubeflow.pod.image={image}")
    assert {container["image"] for container, _, _ in compiled(tmp_path, *settings)[1].values()} == {image}


def test_the_command_writes_the_same_bytes_in_another_process_and_nothing_of_its_environment(tmp_path):
    settings = [*PLAIN, "kubeflow.pod.secrets=[{name: s, keys: {b: B, a: A}}]", "kubeflow.pod.node_selector={b: '1', a: '2'}"]
    compiled(tmp_path, *settings)
    secret = "hush-hush-4711"
    out, arguments = tmp_path / "again.yaml", [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "compile", str(out), *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "7", "A": secret, "B": secret, "MLFLOW_TRACKING_TOKEN": secret},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["nodes"]["Prebatch"] == ["ClickExampleGen", "Transform"]
    assert out.read_bytes() == (tmp_path / "pipeline.yaml").read_bytes()
    assert secret not in out.read_text()
    assert str(tmp_path) not in out.read_text()


def test_the_file_is_a_yaml_file(tmp_path):
    with pytest.raises(ConfigError, match=r"OUT is a .yaml file. Received: .*pipeline.json"):
        compile_pipeline(tmp_path / "pipeline.json", load_config((), PLAIN))
