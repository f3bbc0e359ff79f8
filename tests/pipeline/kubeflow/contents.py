"""What Kubeflow Pipelines takes and gives, read by its own models and protos: what they do not know is refused."""

import json
from typing import Any, NamedTuple

import kfp_server_api
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2


class Refused(Exception):  # noqa: N818
    """An answer with a status of its own, and Kubeflow's JSON."""

    def __init__(self, status: int, message: str, code: int = 3):
        super().__init__(message)
        self.status, self.code = status, code


def fits(content: Any, model: str) -> bool:
    """Whether a model of the generated client knows all of it."""
    client = kfp_server_api.ApiClient()
    read = client.deserialize(NamedTuple("R", [("data", str)])(json.dumps(content)), model)
    return client.sanitize_for_serialization(read) == content


def parse(body: bytes, model: str) -> Any:
    """Reads a body that must be what a model says."""
    content = json.loads(body)
    if isinstance(content.get("max_concurrency"), int):  # an int64, which JSON of protos has as text or as number
        content["max_concurrency"] = str(content["max_concurrency"])
    if not fits(content, model):
        raise Refused(400, f"not a {model}: {content}")
    return content


def read_pipeline(text: str) -> tuple[pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec]:
    """Reads a compiled pipeline by Kubeflow's protos, what it says to Kubernetes included."""
    spec, platform = pipeline_spec_pb2.PipelineSpec(), pipeline_spec_pb2.PlatformSpec()
    try:
        documents = list(yaml.safe_load_all(text))
        json_format.ParseDict(documents[0], spec)
        for document in documents[1:]:
            json_format.ParseDict(document, platform)
        for executor in platform.platforms["kubernetes"].deployment_spec.executors.values():
            config = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
            json_format.ParseDict(json_format.MessageToDict(executor), config)
    except (json_format.ParseError, yaml.YAMLError) as error:
        raise Refused(400, f"the pipeline cannot be read: {error}") from error
    return spec, platform


def ordered(spec: pipeline_spec_pb2.PipelineSpec) -> list[str]:
    """The steps of a pipeline, each after those that it waits for."""
    steps: list[str] = []
    while len(steps) < len(spec.root.dag.tasks):
        steps += [
            name
            for name, task in sorted(spec.root.dag.tasks.items())
            if name not in steps and set(task.dependent_tasks) <= set(steps)
        ]
    return steps
