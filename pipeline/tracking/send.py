"""Sends the payload of a run to an MLflow server, once however often it is called, and in bounded time.

Only here is MLflow imported. Users and tokens are MLflow's business: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD,
MLFLOW_TRACKING_TOKEN.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.tracking.payload import RUN_ID_TAG, Payload, present
from schemas.config import TrackingConfig
from schemas.errors import ConfigError, RemoteError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_ENVIRONMENT = {
    # By default a server that does not answer is asked for minutes, and one that says Retry-After is obeyed.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # By default MLflow tells its makers that it is used.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's settings while we use it, unless the user has set them."""

_METRICS, _PARAMS = 500, 100
"""How many the server takes at once; its bound is 1,000 of both together, of them 100 parameters."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Where a run went: the server, the experiment's name, MLflow's id of the run, and the page that shows it."""

    uri: str
    experiment: str
    mlflow_run_id: str
    url: str


def check_installed(tracking: TrackingConfig) -> None:
    """Makes sure that a run can be tracked, as far as this machine goes.

    Raises:
        ConfigError: MLflow is wanted and is not installed.
    """
    if tracking.mlflow_uri and importlib.util.find_spec("mlflow") is None:
        raise ConfigError(
            "tracking.mlflow_uri is set, but MLflow is not installed: install the package mlflow-skinny, or unset the key. "
            f"Received: {tracking.mlflow_uri}"
        )


def send(payload: Payload, root: Path, tracking: TrackingConfig) -> Sent:
    """Sends a run. A run of the same id that is there already is completed, or only gets its files anew if it is complete.

    Args:
        payload: What to send.
        root: Where its files are.
        tracking: Where to.

    Raises:
        ConfigError: There is no server to send to, or MLflow is not installed.
        RemoteError: The server cannot be reached or refuses; takes at most some 35 s where it does not answer.
    """
    if tracking.mlflow_uri is None:
        raise ConfigError("tracking.mlflow_uri is not set: it says which MLflow server to send to")
    check_installed(tracking)
    with _environment():
        try:
            return _send(payload, root, tracking.mlflow_uri, tracking.experiment)
        except Exception as error:  # MLflow's own, those of requests, and of whatever stores the files
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RemoteError(f"MLflow at {tracking.mlflow_uri}: {first[:300]}") from error


def _send(payload: Payload, root: Path, uri: str, experiment: str) -> Sent:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=uri)
    experiment_id = _experiment(client, experiment)
    run = _find_or_create(client, experiment_id, payload)
    run_id = run.info.run_id
    if run.info.status != "FINISHED":
        params = [Param(name, value) for name, value in payload.params.items()]
        metrics = [Metric(name, value, payload.ended_ms, step) for name, value, step in payload.metrics]
        for i in range(0, len(params), _PARAMS):
            client.log_batch(run_id, params=params[i : i + _PARAMS], synchronous=True)
        for i in range(0, len(metrics), _METRICS):
            client.log_batch(run_id, metrics=metrics[i : i + _METRICS], synchronous=True)
    for file in present(payload, root):
        client.log_artifact(run_id, str(file))
    # Last: it says that all is there.
    client.set_terminated(run_id, "FINISHED", payload.ended_ms)
    return Sent(uri, experiment, run_id, f"{uri.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}")


def _experiment(client: "MlflowClient", name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage != "active":
        raise RemoteError(f"the experiment {name!r} was deleted there; restore it, or set tracking.experiment to another name")
    return str(found.experiment_id)


def _find_or_create(client: "MlflowClient", experiment_id: str, payload: Payload) -> "Run":
    found = client.search_runs([experiment_id], f"tags.`{RUN_ID_TAG}` = '{payload.run_id}'", max_results=1)
    if found:
        return found[0]
    return client.create_run(experiment_id, payload.started_ms, payload.tags, run_name=payload.run_id)


@contextmanager
def _environment() -> Iterator[None]:
    ours = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
