"""What a run on Kubeflow Pipelines needs there, and the run: however often it is asked for by the same names, there is one of each.

Kubeflow gives no way to say "make this unless it is there". So each thing is looked up by its name before it is made, in every try
anew: a call whose answer was lost may have done its work.
"""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import kfp_server_api
from kfp.client import Client

from pipeline import graph
from pipeline.kubeflow.client import connect, identity, listed, server_name
from pipeline.kubeflow.compile import compile_pipeline
from pipeline.kubeflow.errors import CallError
from pipeline.kubeflow.retries import Retries
from schemas.config import Config
from schemas.errors import ConfigError, RemoteError
from schemas.kubeflow import ApiConfig

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is made: what of Kubeflow's is there for it.

    Attributes:
        client: Kubeflow's.
        api: Where it talks to; its namespace is None where Kubeflow has one only.
        retries: For calls.
        experiment: Id of the experiment.
        pipeline: Id of the pipeline.
        version: Id of the pipeline's version.
        version_name: Its name, made of the digest of the compiled pipeline.
    """

    client: Client
    api: ApiConfig
    retries: Retries
    experiment: str
    pipeline: str
    version: str
    version_name: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run on Kubeflow: its name there, Kubeflow's id, the page that shows it, and whether it was made just now."""

    name: str
    kubeflow_id: str
    url: str
    created: bool


def prepare(config: Config, retries: Retries) -> Place:
    """Sees to it that experiment, pipeline and version are there.

    Args:
        config: The configuration to compile; its `kubeflow.api` says where to.
        retries: For calls.

    Raises:
        ClickrankError: The configuration cannot be compiled, or Kubeflow cannot be reached or refuses: `pipeline.kubeflow.errors`.
    """
    api = config.kubeflow.api
    client = connect(api)
    with tempfile.TemporaryDirectory(prefix="clickrank-submit-") as folder:
        file = Path(folder) / "pipeline.yaml"
        compile_pipeline(file, config)
        several = retries.persist(client.healthzs.healthz_service_get_healthz).multi_user
        if several and not api.namespace:
            raise ConfigError(f"{server_name(api)} serves several namespaces: give --namespace, or set kubeflow.api.namespace")
        # One that serves a single namespace takes no name of any.
        namespace = api.namespace if several else None
        if namespace != api.namespace:
            retries.say(f"this Kubeflow has one namespace only: the pods are in that, not in {api.namespace}")
        experiment = retries.persist(lambda: _experiment(client, api, namespace))
        pipeline = retries.persist(lambda: _pipeline(client, api, namespace))
        # A store in Kubernetes' own objects needs names of small letters, digits and '-', unique in the namespace.
        name = f"{graph.PIPELINE_NAME}-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
        version = retries.persist(lambda: _version(client, api, pipeline, name, file))
    return Place(client, api.model_copy(update={"namespace": namespace}), retries, experiment, pipeline, version, name)


def submit_run(place: Place, name: str, parameters: dict[str, Any]) -> Submitted:
    """Makes a run, unless one of that name is in the experiment.

    Raises:
        ClickrankError: See `prepare`. `ConfigError`: The one that is there is of another version or has other parameters.
    """
    client, api = place.client, place.api

    def find() -> tuple[Any, bool] | None:
        run = _only(api, "run", name, listed(client.list_runs, "runs", name, experiment_id=place.experiment))
        return (run, False) if run else None

    def make() -> tuple[Any, bool]:
        run = client.run_pipeline(
            experiment_id=place.experiment,
            job_name=name,
            params=parameters,
            pipeline_id=place.pipeline,
            version_id=place.version,
            service_account=api.service_account,
        )
        return run, True

    run, created = place.retries.persist(lambda: _found_or_made(find, make))
    if not made_of(run, place, parameters):
        raise ConfigError(
            f"run {name} is in the experiment already, with another configuration or other folders; give a new name, or what it "
            f"was submitted with: {page(api, f'runs/details/{run.run_id}')}"
        )
    run_id = identity(api, run, "run_id")
    return Submitted(name, run_id, page(api, f"runs/details/{run_id}"), created)


def made_of(found: Any, place: Place, parameters: dict[str, Any]) -> bool:
    """Whether a run or recurring run is of this version and these parameters, as far as Kubeflow tells."""
    version, given = found.pipeline_version_reference, found.runtime_config
    values = (given and given.parameters) or {}
    return (version is None or version.pipeline_version_id == place.version) and all(
        values.get(name, value) == value for name, value in parameters.items()
    )


def page(api: ApiConfig, path: str) -> str:
    """Returns the address of a page of Kubeflow's."""
    return f"{(api.ui or api.endpoint or '').rstrip('/')}/#/{path}"


def _found_or_made(find: Callable[[], T | None], make: Callable[[], T]) -> T:
    found = find()
    if found is not None:
        return found
    try:
        return make()
    except CallError as problem:
        # Somebody else made it in between.
        found = find() if problem.status == 409 else None
        if found is None:
            raise
        return found


def _experiment(client: Client, api: ApiConfig, namespace: str | None) -> str:
    def find() -> Any:
        return _only(
            api, "experiment", api.experiment, listed(client.list_experiments, "experiments", api.experiment, namespace=namespace)
        )

    def make() -> Any:
        body = kfp_server_api.V2beta1Experiment(display_name=api.experiment, namespace=namespace)
        return client.experiments.experiment_service_create_experiment(experiment=body)

    experiment = _found_or_made(find, make)
    if experiment.storage_state == kfp_server_api.V2beta1ExperimentStorageState.ARCHIVED:
        raise RemoteError(
            f"{server_name(api)}: the experiment {api.experiment!r} is archived there; restore it, or give another by --experiment"
        )
    return identity(api, experiment, "experiment_id")


def _pipeline(client: Client, api: ApiConfig, namespace: str | None) -> str:
    def find() -> Any:
        name = graph.PIPELINE_NAME
        return _only(api, "pipeline", name, listed(client.list_pipelines, "pipelines", name, namespace=namespace))

    def make() -> Any:
        # `kfp.Client` can only upload a pipeline with a first version, whose name it does not let us choose.
        body = kfp_server_api.V2beta1Pipeline(display_name=graph.PIPELINE_NAME, name=graph.PIPELINE_NAME, namespace=namespace)
        return client.pipelines.pipeline_service_create_pipeline(pipeline=body)

    return identity(api, _found_or_made(find, make), "pipeline_id")


def _version(client: Client, api: ApiConfig, pipeline: str, name: str, file: Path) -> str:
    def find() -> Any:
        return _only(api, "version", name, listed(client.list_pipeline_versions, "pipeline_versions", name, pipeline_id=pipeline))

    def make() -> Any:
        return client.upload_pipeline_version(str(file), name, pipeline_id=pipeline)

    return identity(api, _found_or_made(find, make), "pipeline_version_id")


def _only(api: ApiConfig, kind: str, name: str, found: Any) -> Any:
    """Returns the one thing of a name, or None."""
    several = list(found)
    if len(several) > 1:
        raise RemoteError(f"{server_name(api)}: there are {len(several)} of the {kind} {name!r}; remove all but one there")
    return several[0] if several else None
