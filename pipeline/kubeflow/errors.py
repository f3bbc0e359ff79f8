"""What can go wrong between us and Kubeflow Pipelines: one line for each, and whether another try may help.

Kubeflow's answers are JSON; where a proxy or a login page is in between, they are not.
"""

import email.utils
import json
import re
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from urllib3 import exceptions as http

from schemas.errors import ClickrankError, RemoteError, TransientError

TOKEN_VARIABLE = "CLICKRANK_KUBEFLOW_TOKEN"

_BUSY = {429: "too many calls", 502: "a proxy does not reach it", 503: "not ready", 504: "too slow for a proxy"}
_HOW_TO_SHOW_WHO_ASKS = f"set {TOKEN_VARIABLE} to a token, or reach the API past the login (docs/kubeflow.md)"


class CallError(Exception):
    """A call failed.

    Attributes:
        error: What the user is told.
        again: Whether another try may help.
        status: HTTP status, if there was an answer.
        wait: Seconds that the server asks to wait before another try.
    """

    def __init__(self, error: ClickrankError, *, again: bool = False, status: int | None = None, wait: float | None = None):
        super().__init__(str(error))
        self.error, self.again, self.status, self.wait = error, again, status, wait


def of_answer(where: str, path: str, status: int, headers: Mapping[str, str], body: bytes, *, token: bool) -> CallError | None:
    """Says what is wrong with an answer; None if nothing is.

    Args:
        where: Names the server.
        path: What was asked for.
        status: HTTP status.
        headers: Of the answer.
        body: Of the answer.
        token: Whether a token was sent.
    """
    is_json, message = _read(body)
    said = f": {message}" if message else ""
    if 200 <= status <= 299:
        page = f"{where} answers with a web page, a login page perhaps: {_HOW_TO_SHOW_WHO_ASKS}"
        return None if is_json else CallError(RemoteError(page))
    if 300 <= status <= 399:
        to = urlsplit(headers.get("Location", "?"))
        goal = f"{to.scheme}://{to.netloc}{to.path}" if to.netloc else to.path
        text = f"{where} sends us on to {goal}, a login page perhaps: {_HOW_TO_SHOW_WHO_ASKS}; or give the address that it names"
        return CallError(RemoteError(text), status=status)
    if status in _BUSY:
        error: ClickrankError = TransientError(f"{where} asks to try again later ({status}: {_BUSY[status]}){said}")
        return CallError(error, again=True, status=status, wait=_retry_after(headers))
    if status == 401:
        why = "does not accept our token" if token else "wants to know who asks"
        error = RemoteError(f"{where} {why} (401){said}; {_HOW_TO_SHOW_WHO_ASKS}")
    elif status == 403:
        error = RemoteError(f"{where} does not allow us to do this (403){said}")
    elif status == 404 and (not is_json or path.endswith("/healthz")):
        error = RemoteError(f"{where}: no Kubeflow Pipelines 2 there (404 for {path}); behind Kubeflow's pages it is HOST/pipeline")
    elif status == 404:
        error = RemoteError(f"{where} does not have what we ask for (404){said}")
    elif status == 409:
        error = RemoteError(f"{where} has something else of that name (409){said}")
    else:
        error = RemoteError(f"{where} cannot do what we ask for ({status}){said}")
    return CallError(error, status=status)


def of_connection(where: str, problem: http.HTTPError, timeout_s: float) -> CallError:
    """Says what is wrong with a connection. A reset may pass; whether the other side did what we asked for is then not known."""
    reason: BaseException = problem.reason if isinstance(problem, http.MaxRetryError) and problem.reason else problem
    if isinstance(reason, (http.SSLError, ssl.SSLError)):
        text = f"{where}: no safe connection (TLS): {_short(reason)}; kubeflow.api.ca_file names the certificates to trust"
        return CallError(RemoteError(text))
    if isinstance(reason, (http.NewConnectionError, http.NameResolutionError, http.ConnectTimeoutError, http.LocationValueError)):
        text = f"{where} cannot be reached: {_short(reason)}; is the address right, and open from here?"
        return CallError(RemoteError(text))
    if isinstance(reason, http.TimeoutError):
        return CallError(TransientError(f"{where}: no answer within {timeout_s:g} s"))
    if isinstance(reason, http.ProtocolError):
        return CallError(TransientError(f"{where}: the connection broke: {_short(reason)}"), again=True)
    return CallError(RemoteError(f"{where}: {_short(reason)}"))


def _read(body: bytes) -> tuple[bool, str]:
    """Returns whether an answer is JSON, and the message in it."""
    try:
        content = json.loads(body)
    except ValueError:
        return False, ""
    if not isinstance(content, dict):
        return True, ""
    # `error_message` is what uploads answer with.
    message = content.get("message") or content.get("error_message") or content.get("error") or ""
    return True, " ".join(str(message).split())[:300]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, which has a number of them or a date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _short(problem: BaseException) -> str:
    """The last part of what a library says, without its objects."""
    text = " ".join(str(problem).split())
    return re.sub(r"^.*?(HTTPS?Connection[^:]*: |object at 0x\w+>: )", "", text)[:300] or type(problem).__name__
