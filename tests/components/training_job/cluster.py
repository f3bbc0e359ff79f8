"""A stand-in for the Kubernetes API that the real client talks to over HTTP: jobs, pods, watches and logs, and faults on demand.

What it holds is changed by who plays the operator. It lets a caller do what the Role of k8s/base/roles.yaml allows, and no more.
"""

import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kubeflow.training import ApiClient
from kubeflow.training.models import KubeflowOrgV1TFJob

from tests.k8s.render import K8S, load

TOKEN = "let-me-in"
NAMESPACE = "clickrank"
JOBS = {("kubeflow.org", "v1", "tfjobs"): "TFJob", ("trainer.kubeflow.org", "v1alpha1", "trainjobs"): "TrainJob"}

Object = dict[str, Any]


@dataclass
class Fault:
    """What goes wrong with the next calls of one kind.

    Attributes:
        verb, resource: Of the calls, as a Role has them: get, list, watch, create, delete; tfjobs, pods, pods/log.
        status: The answer; 0: the connection is closed, without one.
        times: How many calls.
        late: Whether the call is carried out, and only its answer goes wrong.
        body: Of the answer, in the place of a Status object.
    """

    verb: str
    resource: str
    status: int
    times: int = 1
    late: bool = False
    body: str | None = None


@dataclass
class Pod:
    """A pod's object, and what its container has logged, each line with its time."""

    obj: Object
    log: list[str] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.obj["status"].get("phase") in ("Succeeded", "Failed")


class Cluster:
    """The state, and the server that shows it; see `running`."""

    def __init__(self, role: str = "clickrank-pipeline") -> None:
        self.lock = threading.RLock()
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Pod] = {}
        self.events: list[tuple[int, str, Object]] = []
        self.oldest = 0
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, str]] = []
        self.version = 100
        roles = {obj["metadata"]["name"]: obj for obj in load(K8S / "base/roles.yaml") if obj["kind"] == "Role"}
        self.rules = roles[role]["rules"]
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"cluster": self}))
        self.server.daemon_threads = True

    def kubeconfig(self, **more: str) -> str:
        """The text of a kubeconfig for this server."""
        host, port = self.server.server_address[:2]
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
                "users": [{"name": "u", "user": {"token": TOKEN, **more}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
                "current-context": "x",
            }
        )

    def allows(self, group: str, resource: str, verb: str) -> bool:
        return any(group in r["apiGroups"] and resource in r["resources"] and verb in r["verbs"] for r in self.rules)

    def next_version(self) -> str:
        self.version += 1
        return str(self.version)

    def put_pod(self, obj: Object, event: str = "MODIFIED") -> None:
        """Shows a pod as it is now."""
        with self.lock:
            obj["metadata"]["resourceVersion"] = self.next_version()
            self.pods.setdefault(obj["metadata"]["name"], Pod(obj)).obj = obj
            self.events.append((self.version, event, copy.deepcopy(obj)))

    def drop_pod(self, name: str) -> None:
        with self.lock:
            obj = self.pods.pop(name).obj
            obj["metadata"]["resourceVersion"] = self.next_version()
            self.events.append((self.version, "DELETED", copy.deepcopy(obj)))

    def set_condition(self, name: str, kind: str, message: str = "", reason: str = "") -> None:
        """Sets a condition of a job; as the operator's, those that it replaces go."""
        with self.lock:
            conditions = self.jobs[name].setdefault("status", {}).setdefault("conditions", [])
            replaced = {kind, *({"Running", "Restarting"} if kind in ("Running", "Restarting") else ())}
            conditions[:] = [c for c in conditions if c["type"] not in replaced]
            conditions.append({"type": kind, "status": "True", "reason": reason or f"Job{kind}", "message": message})

    def fault(self, verb: str, resource: str) -> Fault | None:
        with self.lock:
            self.calls.append((verb, resource))
            for fault in self.faults:
                if (fault.verb, fault.resource) == (verb, resource) and fault.times:
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """Serves a cluster."""
    thread = threading.Thread(target=cluster.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        cluster.server.shutdown()
        cluster.server.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_DELETE(self) -> None:
        self.answer()

    def answer(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        parts = url.path.strip("/").split("/")
        if parts[:2] == ["api", "v1"] and parts[4:5] == ["pods"]:
            group, namespace, name = "", parts[3], parts[5] if len(parts) > 5 else ""
            resource = "pods/log" if parts[6:] == ["log"] else "pods"
            carry_out = self.pods if resource == "pods" else self.log
        elif parts[0] == "apis" and (parts[1], parts[2], parts[5]) in JOBS:
            group, namespace, resource, name = parts[1], parts[4], parts[5], parts[6] if len(parts) > 6 else ""
            carry_out = self.job
        else:
            return self.status(404, "NotFound", "the server could not find the requested resource")
        verb = {"POST": "create", "DELETE": "delete", "GET": "get" if name else "watch" if query.get("watch") else "list"}[
            self.command
        ]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.status(401, "Unauthorized", "Unauthorized")
        if namespace != NAMESPACE or not self.cluster.allows(group, resource, verb):
            return self.status(403, "Forbidden", f"{resource} is forbidden: cannot {verb}")
        fault = self.cluster.fault(verb, resource)
        if fault and fault.late:
            real, self.status, self.send_json = self.status, lambda *a: None, lambda *a: None  # type: ignore[method-assign]
            carry_out(verb, name, query, body)
            self.status = real  # type: ignore[method-assign]
            del self.send_json
        if fault and not fault.status:
            self.close_connection = True
            self.connection.close()
            return None
        if fault:
            return self.status(fault.status, "Fault", "as asked", fault.body)
        carry_out(verb, name, query, body)
        return None

    def job(self, verb: str, name: str, query: dict[str, str], body: Object | None) -> None:
        jobs, lock = self.cluster.jobs, self.cluster.lock
        with lock:
            if verb == "create":
                assert body
                if body["metadata"]["name"] in jobs:
                    return self.status(409, "AlreadyExists", "already exists")
                if body["kind"] == "TFJob":
                    check_tfjob(body)
                jobs[body["metadata"]["name"]] = body
                body["metadata"] |= {
                    "uid": str(uuid.uuid4()),
                    "namespace": NAMESPACE,
                    "resourceVersion": self.cluster.next_version(),
                }
                return self.send_json(201, body)
            if name not in jobs:
                return self.status(404, "NotFound", "not found")
            if verb == "delete":
                assert body
                assert body["propagationPolicy"] == "Foreground"
                jobs[name]["metadata"].setdefault("deletionTimestamp", now())
            return self.send_json(200, jobs[name])

    def pods(self, verb: str, name: str, query: dict[str, str], body: Object | None) -> None:
        wanted = dict(part.split("=") for part in query["labelSelector"].split(","))
        if verb == "list":
            with self.cluster.lock:
                found = [pod.obj for pod in self.cluster.pods.values() if wanted.items() <= pod.obj["metadata"]["labels"].items()]
                return self.send_json(
                    200, {"kind": "PodList", "metadata": {"resourceVersion": str(self.cluster.version)}, "items": found}
                )
        version, deadline = int(query["resourceVersion"]), time.monotonic() + int(query["timeoutSeconds"])
        with self.chunks() as send:
            while time.monotonic() < deadline:
                with self.cluster.lock:
                    if version < self.cluster.oldest:
                        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                        return send(json.dumps({"type": "ERROR", "object": status}) + "\n")
                    new = [event for event in self.cluster.events if event[0] > version]
                for at, kind, obj in new:
                    version = at
                    if wanted.items() <= obj["metadata"]["labels"].items():
                        send(json.dumps({"type": kind, "object": obj}) + "\n")
                time.sleep(0.02)
        return None

    def log(self, verb: str, name: str, query: dict[str, str], body: Object | None) -> None:
        pod = self.cluster.pods.get(name)
        if pod is None:
            return self.status(404, "NotFound", "not found")
        if pod.obj["status"].get("phase") == "Pending":
            return self.status(400, "BadRequest", "container is waiting to start")
        assert query["follow"].lower() == query["timestamps"].lower() == "true"  # Kubernetes takes the client's True
        assert query["container"] == pod.obj["spec"]["containers"][0]["name"]
        sent = 0
        with self.chunks() as send:
            while True:
                ended = pod.has_ended or self.cluster.pods.get(name) is not pod
                lines = pod.log[sent:]
                sent += len(lines)
                if lines:
                    send("".join(line + "\n" for line in lines))
                elif ended:
                    return None
                time.sleep(0.02)

    @contextmanager
    def chunks(self) -> Iterator[Callable[[str], None]]:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def send(text: str) -> None:
            data = text.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        try:
            yield send
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def status(self, code: int, reason: str, message: str, body: str | None = None) -> None:
        self.send_json(code, {"kind": "Status", "code": code, "reason": reason, "message": message}, body)

    def send_json(self, code: int, obj: Object, text: str | None = None) -> None:
        data = (text if text is not None else json.dumps(obj)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def check_tfjob(obj: Object) -> KubeflowOrgV1TFJob:
    """Reads a TFJob by the models of the kubeflow-training package, and makes sure that they know every field."""
    api = ApiClient()
    read = api.deserialize(SimpleNamespace(data=json.dumps(obj)), "KubeflowOrgV1TFJob")
    assert api.sanitize_for_serialization(read) == obj
    return read


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
