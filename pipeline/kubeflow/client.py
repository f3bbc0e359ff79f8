"""Kubeflow's own client, made to keep to itself: no file in the home folder, no call when it is made, none without an end."""

import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp_server_api
from kfp import client as kfp_client

from pipeline.kubeflow.errors import TOKEN_VARIABLE
from pipeline.kubeflow.rest import BoundedRest
from schemas.errors import ConfigError, RemoteError
from schemas.kubeflow import ApiConfig

_PAGE = 100


class _Client(kfp_client.Client):  # type: ignore[misc]  # the package has no types
    """`kfp.Client` without what its constructor does of itself."""

    def _load_context_setting_or_default(self) -> None:
        # Its own reads ~/.config/kfp/context.json: the namespace, and cookies, of whatever was done here last.
        self._context_setting = {"namespace": ""}

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        # Its own asks five times, whatever is wrong, before a time-out could be set.
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    def _load_config(self, host: str, client_id: str | None, *others: Any) -> Any:
        # A client id, which it takes from the environment, makes it ask on the screen for a login at Google.
        return super()._load_config(host, None, *others)

    def _is_inverse_proxy_host(self, host: str) -> bool:
        # Its own asks Google for a token.
        return False


def connect(api: ApiConfig) -> kfp_client.Client:
    """Returns a client; nothing is sent yet.

    Who asks is said by the token in the environment variable CLICKRANK_KUBEFLOW_TOKEN; else by the service account's token that is
    mounted where Kubeflow's own client looks for it (KF_PIPELINES_SA_TOKEN_PATH), read anew for each call; else not at all.

    Args:
        api: Where to.

    Raises:
        ConfigError: There is no address, or a file that is named cannot be read.
    """
    if api.endpoint is None:
        raise ConfigError("no address of Kubeflow Pipelines: give --endpoint, or set kubeflow.api.endpoint")
    if api.ca_file is not None and not Path(api.ca_file).is_file():
        raise ConfigError(f"kubeflow.api.ca_file: no such file. Received: {api.ca_file}")
    token, credentials = _token(), None
    if token is None and _mounted_token().exists():
        if not os.access(_mounted_token(), os.R_OK):
            raise ConfigError(f"the service account's token cannot be read. Received: {_mounted_token()}")
        credentials = kfp_client.ServiceAccountTokenVolumeCredentials(str(_mounted_token()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = _Client(host=api.endpoint, existing_token=token, credentials=credentials, ssl_ca_cert=api.ca_file)
    api_client = client.runs.run_service_list_runs.__self__.api_client
    api_client.rest_client = BoundedRest(api_client.configuration, server_name(api), api.timeout_s)
    return client


def server_name(api: ApiConfig) -> str:
    """Names the server in messages."""
    return f"Kubeflow Pipelines at {api.endpoint}"


def listed(call: Callable[..., Any], field: str, name: str, **arguments: Any) -> Iterator[Any]:
    """Yields everything of that display name, of all pages.

    Args:
        call: A method of Kubeflow's client that lists.
        field: Where its answer has the list.
        name: The display name.
        **arguments: What else `call` takes.

    Raises:
        CallError: See `BoundedRest`.
    """
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})
    page = ""
    while True:
        answer = call(page_token=page, page_size=_PAGE, filter=wanted, **arguments)
        # A server that does not know the filter gives everything.
        yield from (one for one in getattr(answer, field) or () if one.display_name == name)
        page = answer.next_page_token
        if not page:
            return


def identity(api: ApiConfig, what: Any, field: str) -> str:
    """Returns an id that an answer must have.

    Raises:
        RemoteError: It has none, so whatever answers is not Kubeflow Pipelines.
    """
    value = getattr(what, field, None)
    if not value:
        raise RemoteError(f"{server_name(api)}: an answer has no {field}; is it Kubeflow Pipelines 2?")
    return str(value)


def _token() -> str | None:
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None


def _mounted_token() -> Path:
    return Path(os.environ.get(kfp_client.KF_PIPELINES_SA_TOKEN_ENV) or kfp_client.KF_PIPELINES_SA_TOKEN_PATH)
