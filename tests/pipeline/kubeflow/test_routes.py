"""The test's server has the routes of Kubeflow's own client: an update of the package that changes one fails here."""

import re

import kfp_server_api
import pytest

from tests.pipeline.kubeflow.routes import ROUTES, Route


def of_package(operation: str) -> Route:
    """What the generated client would send for an operation, found by calling it with every parameter that it takes."""
    api, _, name = operation.partition(".")
    client, sent = kfp_server_api.ApiClient(), {}
    client.call_api = lambda path, method, ids, query, headers, **rest: sent.update(path=path, method=method, query=query, **rest)
    call = getattr(getattr(kfp_server_api, api)(client), f"{name}_with_http_info")
    kinds = dict(re.findall(r":type (\w+): (\w+)", call.__doc__))
    call(**{parameter: parameter for parameter in kinds if not parameter.startswith("_") and parameter != "async_req"})
    body = kinds.get(str(sent["body"])) or next(iter(sent["files"]), None)
    answer = sent["response_type"]
    return Route(operation, sent["method"], sent["path"], frozenset(key for key, _ in sent["query"]), body, answer)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_a_route_is_that_of_the_package(route):
    assert of_package(route.operation) == route
