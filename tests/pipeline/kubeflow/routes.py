"""The routes of Kubeflow Pipelines' API (v2beta1) that `clickrank submit` uses; `test_routes.py` holds them against its client."""

from typing import NamedTuple

API = "/apis/v2beta1"
LIST = {"page_token", "page_size", "sort_by", "filter"}


class Route(NamedTuple):
    """An operation of the API: its name in the generated client, how it is called, and what it takes and gives."""

    operation: str
    method: str
    path: str
    query: frozenset[str] = frozenset()
    body: str | None = None
    answer: str | None = None


def route(operation: str, method: str, path: str, query: set[str] = frozenset(), body=None, answer=None) -> Route:
    return Route(operation, method, API + path, frozenset(query), body, answer)


ROUTES = [
    route("HealthzServiceApi.healthz_service_get_healthz", "GET", "/healthz", answer="V2beta1GetHealthzResponse"),
    route(
        "ExperimentServiceApi.experiment_service_list_experiments",
        "GET",
        "/experiments",
        LIST | {"namespace"},
        answer="V2beta1ListExperimentsResponse",
    ),
    route(
        "ExperimentServiceApi.experiment_service_create_experiment",
        "POST",
        "/experiments",
        body="V2beta1Experiment",
        answer="V2beta1Experiment",
    ),
    route(
        "PipelineServiceApi.pipeline_service_list_pipelines",
        "GET",
        "/pipelines",
        LIST | {"namespace"},
        answer="V2beta1ListPipelinesResponse",
    ),
    route(
        "PipelineServiceApi.pipeline_service_create_pipeline",
        "POST",
        "/pipelines",
        body="V2beta1Pipeline",
        answer="V2beta1Pipeline",
    ),
    route(
        "PipelineServiceApi.pipeline_service_list_pipeline_versions",
        "GET",
        "/pipelines/{pipeline_id}/versions",
        LIST,
        answer="V2beta1ListPipelineVersionsResponse",
    ),
    route(
        "PipelineUploadServiceApi.upload_pipeline_version",
        "POST",
        "/pipelines/upload_version",
        {"name", "display_name", "pipelineid", "description", "tags"},
        body="uploadfile",
        answer="V2beta1PipelineVersion",
    ),
    route(
        "RunServiceApi.run_service_list_runs",
        "GET",
        "/runs",
        LIST | {"namespace", "experiment_id"},
        answer="V2beta1ListRunsResponse",
    ),
    route("RunServiceApi.run_service_create_run", "POST", "/runs", {"experiment_id"}, body="V2beta1Run", answer="V2beta1Run"),
    route("RunServiceApi.run_service_get_run", "GET", "/runs/{run_id}", {"experiment_id"}, answer="V2beta1Run"),
    route(
        "RecurringRunServiceApi.recurring_run_service_list_recurring_runs",
        "GET",
        "/recurringruns",
        LIST | {"namespace", "experiment_id"},
        answer="V2beta1ListRecurringRunsResponse",
    ),
    route(
        "RecurringRunServiceApi.recurring_run_service_create_recurring_run",
        "POST",
        "/recurringruns",
        body="V2beta1RecurringRun",
        answer="V2beta1RecurringRun",
    ),
    route(
        "RecurringRunServiceApi.recurring_run_service_delete_recurring_run",
        "DELETE",
        "/recurringruns/{recurring_run_id}",
        {"propagation_policy"},
        answer="object",
    ),
]
