"""What the test's server of Kubeflow Pipelines knows and does, but for HTTP.

That it does as Kubeflow does is read from Kubeflow's documents and code; it was never compared with an installation.
"""

import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from kfp.pipeline_spec import pipeline_spec_pb2

from tests.pipeline.kubeflow.contents import Refused, fits, ordered, read_pipeline
from tests.pipeline.kubeflow.routes import Route
from tests.pipeline.kubeflow.script import Script, progress


@dataclass(frozen=True)
class Fault:
    """What a call gets instead of its answer.

    Attributes:
        kind: `status`; `html`, a page; `reset`, the connection is reset and nothing is done; `lost`, the work is done, and the
            connection reset in the place of the answer; `slow`, the answer comes after `seconds`.
        status: Of `status` and `html`.
        headers: Of the answer.
        seconds: Of `slow`.
    """

    kind: str = "status"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


@dataclass
class Kubeflow:
    """What the server knows, and how it behaves.

    Attributes:
        address: Where it listens.
        calls: Every call so far, as `METHOD path`, and its headers in `headers`.
        faults: By the number of the call, from 0; `always` for all others.
        token: What a caller must send, if anything.
        several: Whether it serves several namespaces.
        page: The most that a page of a list has.
        script: How runs go.
    """

    address: str = ""
    calls: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    always: Fault | None = None
    token: str | None = None
    several: bool = False
    page: int = 2
    script: Script = field(default_factory=Script)
    things: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {kind: {} for kind in ("experiments", "pipelines", "versions", "runs", "recurring_runs")}
    )
    specs: dict[str, str] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def names(self, kind: str) -> list[str]:
        return [one["display_name"] for one in self.things[kind].values()]

    def answer(self, found: Route, ids: dict[str, str], query: dict[str, str], body: Any) -> Any:
        """Does what a route says, and returns JSON's types."""
        with self.lock:
            answer = getattr(self, found.operation.rpartition(".")[2])(query=query, body=body, **ids)
            if found.answer != "object" and not fits(answer, str(found.answer)):
                raise AssertionError(f"not a {found.answer}: {answer}")
            return answer

    def healthz_service_get_healthz(self, query, body):
        return {"multi_user": self.several}

    def experiment_service_list_experiments(self, query, body):
        return self._listed("experiments", query, "experiments", namespace=query.get("namespace", ""))

    def experiment_service_create_experiment(self, query, body):
        self._namespace(body)
        return self._made("experiments", "experiment_id", {**body, "storage_state": "AVAILABLE"}, unique=True)

    def pipeline_service_list_pipelines(self, query, body):
        return self._listed("pipelines", query, "pipelines", namespace=query.get("namespace", ""))

    def pipeline_service_create_pipeline(self, query, body):
        self._namespace(body)
        return self._made("pipelines", "pipeline_id", body, unique=True)

    def pipeline_service_list_pipeline_versions(self, query, body, pipeline_id):
        return self._listed("versions", query, "pipeline_versions", pipeline_id=pipeline_id)

    def upload_pipeline_version(self, query, body):
        if query["pipelineid"] not in self.things["pipelines"]:
            raise Refused(404, "no such pipeline", 5)
        read_pipeline(body)
        made = {"pipeline_id": query["pipelineid"], "display_name": query["name"], "name": query["name"]}
        version = self._made("versions", "pipeline_version_id", made, unique=True)
        self.specs[version["pipeline_version_id"]] = body
        return version

    def run_service_list_runs(self, query, body):
        return self._listed("runs", query, "runs", experiment_id=query["experiment_id"])

    def run_service_create_run(self, query, body):
        self._check_run(body)
        return self._made("runs", "run_id", {**body, "state": "PENDING"})

    def run_service_get_run(self, query, body, run_id):
        if run_id not in self.things["runs"]:
            raise Refused(404, f"no run {run_id}", 5)
        self.looks[run_id] = self.looks.get(run_id, -1) + 1
        run = self.things["runs"][run_id]
        spec, _ = read_pipeline(self.specs[run["pipeline_version_reference"]["pipeline_version_id"]])
        run |= progress(ordered(spec), self.script, self.looks[run_id])
        return run

    def recurring_run_service_list_recurring_runs(self, query, body):
        return self._listed("recurring_runs", query, "recurringRuns", experiment_id=query["experiment_id"])

    def recurring_run_service_create_recurring_run(self, query, body):
        self._check_run(body)
        # robfig/cron, version 1: five fields are seconds to month.
        if len(body["trigger"]["cron_schedule"]["cron"].split()) != 6:
            raise Refused(400, "the cron expression would have seconds first and no weekday")
        return self._made("recurring_runs", "recurring_run_id", {**body, "status": "ENABLED"})

    def recurring_run_service_delete_recurring_run(self, query, body, recurring_run_id):
        if self.things["recurring_runs"].pop(recurring_run_id, None) is None:
            raise Refused(404, f"no recurring run {recurring_run_id}", 5)
        return {}

    def _check_run(self, body: dict[str, Any]) -> None:
        reference = body["pipeline_version_reference"]
        version = self.things["versions"].get(reference["pipeline_version_id"])
        if body["experiment_id"] not in self.things["experiments"] or not version:
            raise Refused(404, "no such experiment or version", 5)
        if version["pipeline_id"] != reference["pipeline_id"]:
            raise Refused(400, "the version is of another pipeline")
        spec, _ = read_pipeline(self.specs[version["pipeline_version_id"]])
        taken, given = spec.root.input_definitions.parameters, body["runtime_config"]["parameters"]
        if set(given) - set(taken) or any(name not in given and not one.is_optional for name, one in taken.items()):
            raise Refused(400, f"the parameters are {sorted(taken)}")
        kinds = {pipeline_spec_pb2.ParameterType.STRING: str, pipeline_spec_pb2.ParameterType.LIST: list}
        if any(not isinstance(value, kinds[taken[name].parameter_type]) for name, value in given.items()):
            raise Refused(400, "a parameter of another type")

    def _namespace(self, body: dict[str, Any]) -> None:
        if bool(body.get("namespace")) != self.several:
            raise Refused(400, "a namespace, where there is one only, or none where there are several")

    def _made(self, kind: str, key: str, body: dict[str, Any], *, unique: bool = False) -> dict[str, Any]:
        if unique and body["display_name"] in self.names(kind):
            raise Refused(409, f"{body['display_name']} already exists", 6)
        made = {**body, key: str(uuid.uuid4()), "created_at": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())}
        self.things[kind][made[key]] = made
        return made

    def _listed(self, kind: str, query: dict[str, str], name: str, **wanted: str) -> dict[str, Any]:
        found = [one for one in self.things[kind].values() if all(one.get(key, "") == value for key, value in wanted.items())]
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            if set(predicate) != {"operation", "key", "stringValue"} or predicate["operation"] != "EQUALS":
                raise Refused(400, f"unknown predicate {predicate}")
            found = [one for one in found if one[predicate["key"]] == predicate["stringValue"]]
        start, size = int(query.get("page_token") or 0), min(int(query["page_size"]), self.page)
        answer: dict[str, Any] = {name: found[start : start + size], "total_size": len(found)}
        if start + size < len(found):
            answer["next_page_token"] = str(start + size)
        return answer
