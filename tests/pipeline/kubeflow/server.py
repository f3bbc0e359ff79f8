"""A server of Kubeflow Pipelines' API on a real port, with faults on demand."""

import email
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.pipeline.kubeflow.backend import Kubeflow
from tests.pipeline.kubeflow.contents import Refused, parse
from tests.pipeline.kubeflow.routes import ROUTES, Route


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    kubeflow: Kubeflow

    def handle_any(self) -> None:
        server, url = self.kubeflow, urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        with server.lock:
            number = len(server.calls)
            server.calls.append(f"{self.command} {url.path}")
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = server.faults.get(number, server.always)
        if fault and fault.kind == "slow":
            time.sleep(fault.seconds)
        elif fault and fault.kind == "reset":
            return self.reset()
        elif fault and fault.kind == "html":
            return self.send(fault.status, b"<!doctype html><title>Sign in</title>", "text/html; charset=utf-8", fault.headers)
        elif fault and fault.kind == "status":
            said = json.dumps({"code": 2, "message": "as the fault says", "details": []}).encode()
            return self.send(fault.status, said, "application/json", fault.headers)
        try:
            status, content = 200, self.work(url, body)
        except Refused as error:
            status, content = error.status, {"code": error.code, "message": str(error), "details": []}
        except Exception as error:  # a mistake of this file, for the test's output
            status, content = 500, {"code": 13, "message": f"{type(error).__name__}: {error}", "details": []}
        if fault and fault.kind == "lost":
            return self.reset()
        return self.send(status, json.dumps(content).encode(), "application/json")

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = handle_any  # noqa: N815

    def work(self, url: Any, body: bytes) -> Any:
        if self.kubeflow.token and self.headers.get("Authorization") != f"Bearer {self.kubeflow.token}":
            raise Refused(401, "no valid token", 16)
        for one in ROUTES:
            pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(one.path))
            found = re.fullmatch(pattern, url.path)
            if one.method == self.command and found:
                query = dict(parse_qsl(url.query, keep_blank_values=True))
                if unknown := set(query) - one.query:
                    raise Refused(400, f"unknown parameters {sorted(unknown)}")
                return self.kubeflow.answer(one, found.groupdict(), query, self.content(one, body))
        raise Refused(404, "Not Found", 5)

    def content(self, one: Route, body: bytes) -> Any:
        if one.body is None:
            return None
        if one.body != "uploadfile":
            return parse(body, one.body)
        message = email.message_from_bytes(f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body)
        (part,) = message.get_payload()
        if part.get_param("name", header="Content-Disposition") != "uploadfile":
            raise Refused(400, "no part uploadfile")
        return part.get_payload(decode=True).decode()

    def send(self, status: int, body: bytes, kind: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """One that says nothing when a client goes away."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(**behaviour: Any) -> Iterator[Kubeflow]:
    """Starts a server, and yields what it knows."""
    kubeflow = Kubeflow(**behaviour)
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"kubeflow": kubeflow}))
    kubeflow.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield kubeflow
    finally:
        server.shutdown()
        server.server_close()
