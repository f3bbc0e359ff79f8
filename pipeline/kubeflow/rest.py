"""The HTTP layer of Kubeflow's client: each call has a time-out, none is repeated or redirected, each failure is a `CallError`.

Kubeflow's own layer waits for ever, follows redirects to login pages, and takes a web page for an empty answer.
"""

from typing import Any
from urllib.parse import urlsplit

import urllib3
from kfp_server_api import Configuration, rest

from pipeline.kubeflow.errors import CallError, of_answer, of_connection
from schemas.errors import ConfigError


class BoundedRest(rest.RESTClientObject):  # type: ignore[misc]  # the package has no types
    """Takes the place of `ApiClient.rest_client`.

    Args:
        configuration: Kubeflow's.
        where: Names the server, in messages.
        timeout_s: Seconds that one call may take, to connect and between two pieces of the answer.
    """

    def __init__(self, configuration: Configuration, where: str, timeout_s: float):
        # `retries` goes to urllib3, whose default is three tries of its own.
        configuration.retries = False
        super().__init__(configuration)
        self._where, self._timeout_s = where, timeout_s

    def request(self, method: str, url: str, headers: dict[str, str] | None = None, **kwargs: Any) -> Any:
        """As `RESTClientObject.request`.

        Raises:
            CallError: No good answer.
        """
        path, token = urlsplit(url).path, (headers or {}).get("authorization", "")
        if not (token.isascii() and token.isprintable()):
            # Python's own error would show it.
            raise CallError(ConfigError("the token has characters that none has, such as a line break"))
        kwargs["_request_timeout"] = (self._timeout_s, self._timeout_s)
        try:
            answer = super().request(method, url, headers=headers, **kwargs)
        except rest.ApiException as error:
            # Kubeflow's layer has none of the response's own types left; its exception has what they held, or a TLS failure's text.
            if not error.status:
                raise of_connection(self._where, urllib3.exceptions.SSLError(error.reason), self._timeout_s) from error
            problem = of_answer(self._where, path, error.status, error.headers or {}, error.body or b"", token=bool(token))
            if problem is None:  # it is raised for no status from 200 to 299
                raise
            raise problem from error
        except urllib3.exceptions.HTTPError as error:
            raise of_connection(self._where, error, self._timeout_s) from error
        problem = of_answer(self._where, path, answer.status, {}, answer.data, token=bool(token))
        if problem:
            raise problem
        return answer
