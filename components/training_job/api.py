"""The Kubernetes API, as far as a training job needs it: every call with a time-out, tried again when it may help.

The rights that it takes are in k8s/base/roles.yaml: of jobs to create, get and delete, of pods to list and watch, and their logs.
"""

import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import urllib3
import yaml
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.watch.watch import iter_resp_lines

from components.training_job.pods import Object
from schemas.errors import ClickrankError, ConfigError, RemoteError, TransientError

logger = logging.getLogger(__name__)

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT_S = (5, 30)
_SILENCE_S = 60
_FOR_THE_MOMENT = (429, 500, 502, 503, 504)
_GONE = 410
_LONGEST_PAUSE_S = 15.0


class ExistsError(Exception):
    """An object of this name is there."""


class UnreachableError(TransientError):
    """Kubernetes could not be reached for as long as we are patient."""


class ExpiredError(Exception):
    """What is asked for lies too far back: list anew."""


class Api:
    """Jobs of one kind, and their pods.

    Args:
        kind: `components.training_job.tfjob` or `trainjob`.
        namespace: Where they are; that of this process's pod, or of the kubeconfig, unless given.
        patience_s: Seconds for which a call is tried again.
        pause_s: Seconds before the first try again; doubled each time.

    Raises:
        ConfigError: There is neither a service account's token nor a kubeconfig.

    All methods raise `RemoteError` where Kubernetes refuses, and `UnreachableError`.
    """

    def __init__(self, kind: ModuleType, namespace: str | None = None, *, patience_s: float = 300.0, pause_s: float = 0.5):
        self._kind, self._patience_s, self._pause_s = kind, patience_s, pause_s
        settings, found = _connection()
        settings.retries = False
        self.namespace = namespace or found
        self._host = settings.host
        self._client = client.ApiClient(settings)
        self._jobs, self._core = client.CustomObjectsApi(self._client), client.CoreV1Api(self._client)
        self._where = (kind.GROUP, kind.VERSION, self.namespace, kind.PLURAL)

    def create(self, job: Object) -> None:
        """Creates a job.

        Raises:
            ExistsError: There is one of its name; also if an earlier try made it, and its answer was lost.
        """
        try:
            self._call("create", self._jobs.create_namespaced_custom_object, *self._where, job)
        except ApiException as error:
            if error.status == 409:
                raise ExistsError from error
            raise self._explain("create", error) from error

    def get(self, name: str) -> Object | None:
        """Returns a job; None if there is none."""
        try:
            found = self._call("get", self._jobs.get_namespaced_custom_object, *self._where, name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise self._explain("get", error) from error
        return dict(found)

    def delete(self, name: str) -> None:
        """Deletes a job and its pods, which get the time to save themselves; does nothing if there is none."""
        try:
            options = client.V1DeleteOptions(propagation_policy="Foreground")
            self._call("delete", self._jobs.delete_namespaced_custom_object, *self._where, name, body=options)
        except ApiException as error:
            if error.status not in (404, 409):  # 409: it is being deleted
                raise self._explain("delete", error) from error

    def list_pods(self, name: str) -> tuple[list[Object], str]:
        """Returns the pods of a job, and the version to watch them from."""
        selector = self._kind.selector(name)
        try:
            found = self._call(
                "list pods of", self._core.list_namespaced_pod, self.namespace, label_selector=selector, _preload_content=False
            )
        except ApiException as error:
            raise self._explain("list pods of", error) from error
        listed = json.loads(found.data)
        return listed["items"], listed["metadata"]["resourceVersion"]

    def watch_pods(self, name: str, version: str, seconds: int) -> Iterator[tuple[str, Object]]:
        """Yields what happens to the pods of a job within some seconds, as (ADDED, MODIFIED or DELETED, the pod).

        Raises:
            ExpiredError: Nothing is known any more since `version`, or the connection broke.
        """
        stream = watch.Watch(return_type="object").stream(
            self._core.list_namespaced_pod,
            self.namespace,
            label_selector=self._kind.selector(name),
            resource_version=version,
            timeout_seconds=seconds,
            _request_timeout=(_TIMEOUT_S[0], seconds + _TIMEOUT_S[1]),
        )
        try:
            for event in stream:
                yield event["type"], event["raw_object"]
        except ApiException as error:
            if error.status not in (_GONE, *_FOR_THE_MOMENT):
                raise self._explain("watch pods of", error) from error
            raise ExpiredError from error
        except (urllib3.exceptions.HTTPError, json.JSONDecodeError) as error:
            raise ExpiredError from error

    def read_log(self, pod: str) -> Iterator[str]:
        """Yields the lines of a pod's log from its beginning, each with its time in front, until the pod ends.

        Ends early if the connection breaks, or nothing comes for a minute.
        """
        try:
            answer = self._core.read_namespaced_pod_log(
                pod,
                self.namespace,
                container=self._kind.CONTAINER,
                follow=True,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(_TIMEOUT_S[0], _SILENCE_S),
            )
            try:
                yield from iter_resp_lines(answer)
            finally:
                answer.close()
                answer.release_conn()
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            logger.debug("the log of %s: %s", pod, _short(error))

    def _call(self, what: str, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """Calls the API; again where the fault is one of the moment. What it makes has a name, so a second try does no harm."""
        deadline, pause = time.monotonic() + self._patience_s, self._pause_s
        while True:
            try:
                return function(*args, **more, _request_timeout=_TIMEOUT_S)
            except ApiException as error:
                if error.status not in _FOR_THE_MOMENT:
                    raise
                fault, asked = _short(error), _retry_after(error)
            except urllib3.exceptions.HTTPError as error:
                fault, asked = _short(error), 0.0
            wait = max(pause * random.uniform(0.5, 1.0), asked)
            if time.monotonic() + wait > deadline:
                raise UnreachableError(
                    f"Kubernetes at {self._host}: cannot {what} a {self._kind.KIND}: {fault}; run again to go on"
                )
            logger.warning("Kubernetes at %s: cannot %s a %s: %s; trying again", self._host, what, self._kind.KIND, fault)
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _explain(self, what: str, error: ApiException) -> ClickrankError:
        where = f"Kubernetes at {self._host}: cannot {what} a {self._kind.KIND} in namespace {self.namespace}"
        advice = {
            401: "the token is not accepted",
            403: "the service account may not; k8s/base/roles.yaml has the role that it needs",
            404: f"there is no {self._kind.PLURAL}.{self._kind.GROUP}/{self._kind.VERSION}: is the operator installed?",
        }.get(error.status, "")
        return RemoteError(f"{where}: {'; '.join(filter(None, [_short(error), advice]))}")


def _connection() -> tuple[client.Configuration, str]:
    """How to reach the API, and the namespace of who asks."""
    settings = client.Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=settings)
            return settings, _NAMESPACE_FILE.read_text().strip()
        config.load_kube_config(client_configuration=settings)
        return settings, config.list_kube_config_contexts()[1]["context"].get("namespace", "default")
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        raise ConfigError(f"training_job needs a Kubernetes cluster: {' '.join(str(error).split())}") from error


def _short(error: Exception) -> str:
    if not isinstance(error, ApiException):
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    try:
        message = json.loads(error.body or "{}").get("message", "")
    except (ValueError, AttributeError):
        message = ""  # no answer of Kubernetes but of something in between, and as long as a page
    return " ".join(filter(None, [str(error.status), str(error.reason or ""), " ".join(message.split())]))[:300]


def _retry_after(error: ApiException) -> float:
    """Seconds that the server asks for."""
    try:
        return min(float((error.headers or {}).get("Retry-After", 0)), _LONGEST_PAUSE_S)
    except ValueError:
        return 0.0
