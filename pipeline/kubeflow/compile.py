"""Compiles the pipeline for Kubeflow Pipelines: one step for each node, which runs `clickrank node` in the project's image.

TFX's own launcher, resolver, cache and lineage go on working in each step, against the metadata store of the root. Kubeflow does
order, retries, resources and the screen. Its own cache is off: it knows neither the raw tables nor the serving folder.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from kfp import compiler, dsl, kubernetes
from kfp.dsl import structures

from pipeline import graph, runners
from pipeline.kubeflow.command import run_node
from pipeline.paths import RootPaths
from pipeline.siblings import file_errors, write_whole
from schemas.config import Config
from schemas.errors import ConfigError
from schemas.kubeflow import KubeflowConfig, PodConfig
from schemas.training_job import TrainingJobConfig

_NOT_FOR_STEPS = "kubeflow"

LABELS = {"app.kubernetes.io/part-of": "clickrank", "app.kubernetes.io/component": "pipeline"}
"""Of every step's pod; the network policies of k8s/ go by them."""


_A_YEAR_S = 365 * 86400


class _AtAnyTime(structures.RetryPolicy):  # type: ignore[misc]  # the package has no types
    """Retries that are made however long the tries before took.

    Kubeflow's SDK allows at most an hour for all tries together, and Argo keeps to it: what fails later than that after its first
    start is not tried again, and what is tried again before is stopped then (`maxDurationDeadline` in argo-workflows,
    workflow/controller/operator.go; kubeflow/pipelines#13452). Kubeflow itself passes any time on, and would pass none on as 0
    (backend/src/v2/compiler/argocompiler/container.go).
    """

    def to_proto(self) -> Any:
        proto = super().to_proto()
        proto.backoff_max_duration.FromSeconds(_A_YEAR_S)
        return proto


def compile_pipeline(out: Path, config: Config) -> dict[str, tuple[str, ...]]:
    """Writes the pipeline as a file for Kubeflow Pipelines 2. The same configuration gives the same bytes.

    Its parameters are `data`, `root`, `run_id`, as of `clickrank node`, and `overrides`, a list of what `--set` takes. Without a
    `run_id`, the steps make one of Kubeflow's own id of the run. The configuration that it is compiled with is within it;
    overrides come on top.

    Args:
        out: The file, `.yaml`.
        config: The configuration. Its section `kubeflow` says what the pods get.

    Returns:
        Node -> the nodes that it waits for.

    Raises:
        ConfigError: There is no image, `kubeflow.nodes` names no node of this pipeline, or the file cannot be written.
    """
    if out.suffix != ".yaml":
        raise ConfigError(f"OUT is a .yaml file. Received: {out}")
    upstream = _dependencies(config)
    _check(config.kubeflow, upstream)
    pipeline = _make_pipeline(upstream, config)
    with file_errors(out), tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        write_whole(out, file.read_text())
    return upstream


def step_name(node: str) -> str:
    """The name of a node's step: ClickExampleGen -> click-example-gen."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", node).lower()


def to_settings(config: Config) -> list[str]:
    """Returns what `--set` takes to come from the defaults to this configuration, but for what is not for the steps.

    A training job that says nothing of its own has the Trainer's image, all volumes, and the secrets by which images are pulled.
    """
    config = config.model_copy(update={"training_job": _training_job(config)})
    settings = []
    for name in sorted(set(Config.model_fields) - {_NOT_FOR_STEPS}):
        section, default = (one.model_dump(mode="json") for one in (getattr(config, name), getattr(Config(), name)))
        settings += [f"{name}.{key}={json.dumps(value)}" for key, value in section.items() if value != default[key]]
    return settings


def _training_job(config: Config) -> TrainingJobConfig:
    job, kubeflow = config.training_job, config.kubeflow
    if job.kind == "none":
        return job
    like_the_steps: dict[str, Any] = {"volumes": kubeflow.volumes}
    if job.image is None:
        like_the_steps |= {"image": kubeflow.pod_of("Trainer").image, "allow_image_tag": kubeflow.allow_image_tag}
    if job.kind == "tfjob":
        like_the_steps["image_pull_secrets"] = kubeflow.image_pull_secrets
    return job.model_copy(update={key: value for key, value in like_the_steps.items() if not getattr(job, key)})


def _dependencies(config: Config) -> dict[str, tuple[str, ...]]:
    # A file that only the cluster has does not change the shape of the graph.
    trainer = config.trainer.model_copy(update={"warm_start_map": None})
    pipeline = graph.create_pipeline("data", "", RootPaths(Path("/")), config.model_copy(update={"trainer": trainer}))
    return runners.upstream_nodes(runners.compile_graph(pipeline, "run"))


def _check(kubeflow: KubeflowConfig, nodes: dict[str, tuple[str, ...]]) -> None:
    unknown = sorted(set(kubeflow.nodes) - set(nodes))
    if unknown:
        raise ConfigError(f"kubeflow.nodes: no such node in this pipeline: {unknown[0]}; the nodes are {', '.join(nodes)}")
    without = [node for node in nodes if kubeflow.pod_of(node).image is None]
    if without:
        raise ConfigError(f"no image for {', '.join(without)}; set kubeflow.pod.image to NAME@sha256:...")


def _make_pipeline(upstream: dict[str, tuple[str, ...]], config: Config) -> Any:
    settings = to_settings(config)

    @dsl.pipeline(name=graph.PIPELINE_NAME, description="Raw click logs to a gated ranking model.")
    def clickrank(data: str, root: str, run_id: str = "", overrides: list = []) -> None:  # noqa: B006
        tasks: dict[str, dsl.PipelineTask] = {}
        for node, before in upstream.items():
            pod = config.kubeflow.pod_of(node)
            component = dsl.component(run_node, base_image=pod.image, install_kfp_package=False)
            component.component_spec.name = step_name(node)
            # Kubeflow replaces an input that is this text and nothing else (kubeflow/pipelines, backend/src/v2/driver/resolve.go).
            # Its other words cannot be relied upon: the times of creation and schedule arrived as they are written in 2.15 (issue
            # 12616 there), and so did the macros of recurring runs, such as [[ScheduledTime]] (issue 12494).
            job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
            task = component(node=node, data=data, root=root, run_id=run_id, job=job, settings=settings, overrides=overrides)
            task.set_display_name(node).set_caching_options(False).after(*(tasks[name] for name in before))
            _equip(task, pod, config.kubeflow)
            tasks[node] = task

    return clickrank


def _equip(task: dsl.PipelineTask, pod: PodConfig, kubeflow: KubeflowConfig) -> None:
    """Gives a step what the configuration says."""
    for value, setter in (
        (pod.cpu_request, task.set_cpu_request),
        (pod.cpu_limit, task.set_cpu_limit),
        (pod.memory_request, task.set_memory_request),
        (pod.memory_limit, task.set_memory_limit),
    ):
        if value is not None:
            setter(value)
    if pod.gpus:
        task.set_accelerator_type(pod.gpu_type or "").set_accelerator_limit(pod.gpus)
    if pod.retries:
        task.set_retry(pod.retries, backoff_duration=f"{pod.backoff_s}s" if pod.backoff_s else None, backoff_factor=2.0)
        task._task_spec.retry_policy = _AtAnyTime(**vars(task._task_spec.retry_policy))
    if pod.timeout_s is not None:
        kubernetes.set_timeout(task, pod.timeout_s)
    for key, label in sorted((pod.node_selector or {}).items()):
        kubernetes.add_node_selector(task, key, label)
    for toleration in pod.tolerations or ():
        kubernetes.add_toleration(task, toleration.key, toleration.operator, toleration.value, toleration.effect)
    for secret in pod.secrets or ():
        kubernetes.use_secret_as_env(task, secret.name, dict(sorted(secret.keys.items())))
    for volume in kubeflow.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.mount_path, volume.sub_path)
    if pod.scratch is not None:
        kubernetes.empty_dir_mount(task, "scratch", "/tmp", size_limit=pod.scratch)
    for key, label in LABELS.items():
        kubernetes.add_pod_label(task, key, label)
    if pod.run_as_user is not None or pod.run_as_group is not None:
        # The rest of the restricted profile is set by Kubeflow (backend/src/v2/compiler/argocompiler/security_context.go).
        kubernetes.set_security_context(task, pod.run_as_user, pod.run_as_group, run_as_non_root=True)
    if kubeflow.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(kubeflow.image_pull_secrets))
