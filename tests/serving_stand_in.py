"""A stand-in for TensorFlow Serving, for tests: no TensorFlow Serving is installed where they run.

It does what Serving's documents and sources say of a folder of versions and of the REST interface, as far as the tests need it: it
polls the folder, takes the child with the highest number (other names are passed over), loads it as it is at that moment, answers
by the old version until the new one is loaded, and keeps the old one if the new one cannot be loaded. Only the row format of
`predict` is there. It shows that what is pushed fits that; it does not show that Serving itself accepts the model.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tensorflow as tf

_POLL_S = 0.002


class StandIn:
    """Serves the newest version of a folder as a model called `name`.

    Attributes:
        loaded: Numbers of the versions that were loaded, in order.
        failed: Number and message of those that could not be.
        port: Of 127.0.0.1.
    """

    def __init__(self, base: Path, name: str):
        self.base, self.name = base, name
        self.loaded: list[int] = []
        self.failed: list[tuple[int, str]] = []
        self._served: tuple[int, Any] | None = None
        self._stop = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = self._http.server_port

    def poll(self) -> None:
        """Looks at the folder once."""
        numbers = [int(child.name) for child in self.base.iterdir() if child.name.lstrip("-").isdigit()]
        newest = max(numbers, default=None)
        if newest is None or (self._served and self._served[0] == newest) or newest in dict(self.failed):
            return
        try:
            model = tf.saved_model.load(str(self.base / str(newest)))
        except Exception as error:
            self.failed.append((newest, str(error)))
            return
        self._served = newest, model
        self.loaded.append(newest)

    def status(self) -> dict[str, Any]:
        """The body of GET /v1/models/NAME."""
        ok = {"error_code": "OK", "error_message": ""}
        number = self._served[0] if self._served else 0
        return {"model_version_status": [{"version": str(number), "state": "AVAILABLE", "status": ok}]}

    def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to POST /v1/models/NAME:predict with `instances`, a list of {"b64": ...}."""
        assert self._served
        _, model = self._served
        name = body.get("signature_name", "serving_default")
        if name not in model.signatures:
            raise ValueError(f'Serving signature name: "{name}" not found in signature def')
        examples = [base64.b64decode(instance["b64"]) for instance in body["instances"]]
        outputs = {key: value.numpy().tolist() for key, value in model.signatures[name](tf.constant(examples)).items()}
        if len(outputs) == 1:
            return {"predictions": next(iter(outputs.values()))}
        return {"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]}

    @contextmanager
    def running(self) -> Iterator["StandIn"]:
        """Polls and answers until the end of the block."""
        self.poll()
        threads = [threading.Thread(target=self._http.serve_forever), threading.Thread(target=self._keep_polling)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._http.shutdown()
            self._http.server_close()
            for thread in threads:
                thread.join()

    def _keep_polling(self) -> None:
        while not self._stop.is_set():
            self.poll()
            time.sleep(_POLL_S)


def _handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == f"/v1/models/{stand_in.name}"
            self._send(200, stand_in.status()) if known else self._send(
                404, {"error": f"Could not find any versions of {self.path}"}
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != f"/v1/models/{stand_in.name}:predict":
                return self._send(404, {"error": f"Servable not found for request: {self.path}"})
            try:
                self._send(200, stand_in.predict(body))
            except Exception as error:
                self._send(400, {"error": str(error)})

        def _send(self, code: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
