"""Plays Kubeflow's training operator and Kubernetes' nodes: makes local processes of the pods of an accepted TFJob.

After `pkg/controller.v1/tensorflow/tfjob_controller.go` of kubeflow/training-operator: names and labels of the pods, TF_CONFIG
(none for a single pod), worker 0 as the chief where there is none, restart policies, conditions, cleanPodPolicy. Addresses are
those of this machine: the ports of a job stay the same for its lifetime, as its services' names do.
"""

import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from components.trainer.cluster import local_cluster
from components.trainer.launch import ROOT
from tests.components.training_job.cluster import NAMESPACE, Cluster, Object, now

_TICK_S = 0.03
_ORDER = ("Chief", "Worker", "PS")


class Container:
    """The process of a pod, and a thread that reads what it logs."""

    def __init__(self, command: list[str], environment: dict[str, str], log: list[str]):
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.log = log
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            seconds, nanos = divmod(time.time_ns(), 10**9)
            fraction = f".{nanos:09}".rstrip("0").rstrip(".")  # as the container runtime writes it
            self.log.append(
                f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}{fraction}Z {line.decode(errors='replace').rstrip()}"
            )

    def exit_code(self) -> int | None:
        """As Kubernetes has it: 128 and the signal's number for a signal."""
        code = self.process.poll()
        if code is None:
            return None
        self.thread.join(5)
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Operator:
    """Reconciles until told to stop.

    Args:
        cluster: Where the jobs are.
        command: What a pod runs in the place of its container's command.
        pending: Pods of which this says something stay pending; it is their waiting container's, or scheduling condition's, reason.
    """

    def __init__(
        self,
        cluster: Cluster,
        command: Callable[[list[str]], list[str]] = lambda words: [sys.executable, *words[1:]],
        pending: Callable[[str], Object | None] = lambda pod: None,
    ):
        self.cluster, self._command, self._pending = cluster, command, pending
        self.containers: dict[str, Container] = {}
        self.started: list[str] = []
        self._addresses: dict[str, dict[str, list[str]]] = {}
        self._terminating: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Operator"]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            for container in self.containers.values():
                container.kill()

    def pid(self, pod: str) -> int:
        """The process of a pod; waits for it."""
        while pod not in self.containers:
            time.sleep(0.02)
        return self.containers[pod].process.pid

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S):
            with self.cluster.lock:
                for job in list(self.cluster.jobs.values()):
                    if job["kind"] == "TFJob":
                        self._reconcile(job)
                self._tend_pods()

    def _reconcile(self, job: Object) -> None:
        name, replicas = job["metadata"]["name"], job["spec"]["tfReplicaSpecs"]
        pods = {
            n: p.obj for n, p in self.cluster.pods.items() if p.obj["metadata"]["labels"]["training.kubeflow.org/job-name"] == name
        }
        if job["metadata"].get("deletionTimestamp"):
            for pod in pods:
                self._terminate(pod)
            if not pods:
                del self.cluster.jobs[name]
                self._began.pop(name, None)
                self._addresses.pop(name, None)
            return
        conditions = {c["type"] for c in job.get("status", {}).get("conditions", [])}
        if conditions & {"Succeeded", "Failed"}:
            for pod, obj in pods.items():
                if obj["status"]["phase"] in ("Running", "Pending"):  # cleanPodPolicy: Running
                    self._terminate(pod)
            return
        if not conditions:
            self.cluster.set_condition(name, "Created")
        self._began.setdefault(name, time.monotonic())
        policy = job["spec"]["runPolicy"]
        if time.monotonic() - self._began[name] >= policy.get("activeDeadlineSeconds", 10**9):
            for pod in pods:
                self._terminate(pod)
            self.cluster.set_condition(
                name, "Failed", f"Job {name} has failed because it was active longer than specified deadline"
            )
            return
        self._reconcile_pods(job, replicas, pods)

    def _reconcile_pods(self, job: Object, replicas: Object, pods: dict[str, Object]) -> None:
        name, failed = job["metadata"]["name"], []
        has_chief = "Chief" in replicas
        for kind in filter(replicas.__contains__, _ORDER):
            spec = replicas[kind]
            for index in range(spec["replicas"]):
                pod = f"{name}-{kind.lower()}-{index}"
                if pod not in pods:
                    self._create(job, kind, index, pod)
                    continue
                if pods[pod]["status"]["phase"] != "Failed":
                    continue
                code = pods[pod]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"]
                retried = spec["restartPolicy"] in ("OnFailure", "Always") or (spec["restartPolicy"] == "ExitCode" and code >= 128)
                if retried:
                    self._terminate(pod)
                    self.cluster.set_condition(name, "Restarting", f"TFJob {name} is restarting because {kind} replica(s) failed.")
                failed.append(kind)
        conditions = {c["type"] for c in job["status"]["conditions"]}
        if failed and "Restarting" not in conditions:
            self.cluster.set_condition(
                name, "Failed", f"TFJob {name} has failed because {len(failed)} {failed[0]} replica(s) failed."
            )
        chief = pods.get(f"{name}-{'chief' if has_chief else 'worker'}-0")
        if chief and chief["status"]["phase"] == "Succeeded":
            self.cluster.set_condition(name, "Succeeded", f"TFJob {name} successfully completed.")
        elif not failed and all(pod["status"]["phase"] == "Running" for pod in pods.values()):
            self.cluster.set_condition(name, "Running")

    def _create(self, job: Object, kind: str, index: int, pod: str) -> None:
        template = copy.deepcopy(job["spec"]["tfReplicaSpecs"][kind]["template"])
        meta, spec = template["metadata"], template["spec"]
        meta |= {"name": pod, "namespace": NAMESPACE, "uid": str(uuid.uuid4()), "creationTimestamp": now()}
        meta["labels"] |= {
            "training.kubeflow.org/job-name": job["metadata"]["name"],
            "training.kubeflow.org/operator-name": "tfjob-controller",
            "training.kubeflow.org/replica-type": kind.lower(),
            "training.kubeflow.org/replica-index": str(index),
        }
        spec["restartPolicy"] = "Never"
        tf_config = self._tf_config(job, kind, index)
        if tf_config:
            spec["containers"][0]["env"].append({"name": "TF_CONFIG", "value": tf_config})
        self.cluster.put_pod({"kind": "Pod", "metadata": meta, "spec": spec, "status": {"phase": "Pending"}}, "ADDED")

    def _tf_config(self, job: Object, kind: str, index: int) -> str | None:
        name = job["metadata"]["name"]
        counts = {k: job["spec"]["tfReplicaSpecs"][k]["replicas"] for k in _ORDER if k in job["spec"]["tfReplicaSpecs"]}
        if sum(counts.values()) == 1:
            return None
        if name not in self._addresses:
            ports = iter(local_cluster(sum(counts.values()))[0].workers)
            self._addresses[name] = {k.lower(): [next(ports) for _ in range(count)] for k, count in counts.items()}
        task = {"type": kind.lower(), "index": index}
        return json.dumps({"cluster": self._addresses[name], "task": task, "environment": "cloud"})

    def _tend_pods(self) -> None:
        """What the nodes do: start what is pending, notice what has ended, kill what does not end in time."""
        for name in list(self.cluster.pods):
            obj = copy.deepcopy(self.cluster.pods[name].obj)
            status, container = obj["status"], self.containers.get(name)
            if name in self._terminating:
                if container is None or container.exit_code() is not None or time.monotonic() > self._terminating[name]:
                    if container:
                        self._note_end(obj, container)
                        container.kill()
                    del self._terminating[name]
                    self.containers.pop(name, None)
                    self.cluster.drop_pod(name)
            elif status["phase"] == "Pending":
                held = self._pending(name)
                if held is None:
                    self._start(obj)
                elif held.items() - status.items() if not any(isinstance(v, list) for v in held.values()) else held != status:
                    obj["status"] = held
                    self.cluster.put_pod(obj)
            elif status["phase"] == "Running" and container and container.exit_code() is not None:
                self._note_end(obj, container)

    def _start(self, obj: Object) -> None:
        name, container = obj["metadata"]["name"], obj["spec"]["containers"][0]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("TF_CONFIG", None)
        for variable in container["env"]:
            value_from = variable.get("valueFrom", {})
            assert "value" in variable or value_from == {"fieldRef": {"fieldPath": "metadata.uid"}}
            environment[variable["name"]] = variable.get("value", obj["metadata"]["uid"])
        obj["status"] = {"phase": "Running", "containerStatuses": [{"name": container["name"], "state": {"running": {}}}]}
        self.cluster.put_pod(obj)
        self.started.append(name)
        self.containers[name] = Container(self._command(container["command"]), environment, self.cluster.pods[name].log)

    def _note_end(self, obj: Object, container: Container) -> None:
        code = container.exit_code()
        if code is None or obj["status"]["phase"] != "Running":
            return
        last = [line.partition(" ")[2] for line in container.log[-20:]]
        terminated: dict[str, Any] = {"exitCode": code, "reason": "Error" if code else "Completed"}
        if code:
            terminated["message"] = "\n".join(last)  # terminationMessagePolicy: FallbackToLogsOnError
        obj["status"] = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": obj["spec"]["containers"][0]["name"], "state": {"terminated": terminated}}],
        }
        self.cluster.put_pod(obj)

    def _terminate(self, pod: str) -> None:
        if pod in self._terminating:
            return
        obj = copy.deepcopy(self.cluster.pods[pod].obj)
        obj["metadata"]["deletionTimestamp"] = now()
        self.cluster.put_pod(obj)
        self._terminating[pod] = time.monotonic() + obj["spec"]["terminationGracePeriodSeconds"]
        container = self.containers.get(pod)
        if container and container.process.poll() is None:
            container.process.send_signal(signal.SIGTERM)
