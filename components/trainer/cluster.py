"""What TF_CONFIG says: the processes that train together, and which of them this one is. Imports no TensorFlow.

The format of TF_CONFIG: https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable
"""

import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from schemas.errors import ConfigError

TF_CONFIG = "TF_CONFIG"
PORT = 2222
"""Where a pod of a training job listens."""

JOBSET, NODES, PARAMETER_SERVERS = "CLICKRANK_JOBSET", "CLICKRANK_NODES", "CLICKRANK_PARAMETER_SERVERS"
"""What a pod of a TrainJob is told: the first by the TrainingRuntime, from the pod's label, the others by the TrainJob."""

_INDEX = "JOB_COMPLETION_INDEX"  # set by Kubernetes in the pods of an Indexed Job

Kind = Literal["chief", "worker", "ps"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that a process belongs to.

    Attributes:
        workers: `host:port` of all workers, the chief first. With parameter servers, the chief only coordinates the others.
        index: This process's place among the workers and, after them, the parameter servers; 0 is the chief.
        servers: `host:port` of the parameter servers, if it has any.
    """

    workers: tuple[str, ...]
    index: int
    servers: tuple[str, ...] = ()

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the results."""
        return self.index == 0

    @property
    def task(self) -> tuple[Kind, int]:
        """What this process is, and its number among those of its kind."""
        if not self.servers:
            return "worker", self.index
        if self.is_chief:
            return "chief", 0
        servers_from = len(self.workers)
        return ("worker", self.index - 1) if self.index < servers_from else ("ps", self.index - servers_from)

    @property
    def name(self) -> str:
        """This process's task as a part of file names."""
        return "{}-{}".format(*self.task)

    def addresses(self) -> dict[Kind, list[str]]:
        """Returns the addresses of all processes by what they are."""
        if not self.servers:
            return {"worker": list(self.workers)}
        return {"chief": list(self.workers[:1]), "worker": list(self.workers[1:]), "ps": list(self.servers)}

    def tf_config(self) -> str:
        """Returns the value of TF_CONFIG for this process."""
        kind, index = self.task
        return json.dumps({"cluster": self.addresses(), "task": {"type": kind, "index": index}})


def parse_tf_config(text: str) -> Cluster:
    """Reads the value of TF_CONFIG: tasks of the types `worker` and, at most one, `chief` (or `master`). Other keys are ignored.

    With tasks of the type `ps`, parameter servers, there must be a chief and a worker, too.

    Raises:
        ConfigError: It is no such JSON, an address is no `host:port` or occurs twice, or the task is not in the cluster.
    """
    try:
        config = json.loads(text)
        tasks: dict[str, list[str]] = dict(config["cluster"])
        kind, index = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"TF_CONFIG is malformed: {type(error).__name__}: {error}. Received: {text}") from error
    unknown = tasks.keys() - {"chief", "master", "worker", "ps"}
    if unknown:
        raise ConfigError(f"TF_CONFIG: tasks are chief, worker and ps. Received: {', '.join(sorted(unknown))}")
    chiefs = [*tasks.get("chief", ()), *tasks.get("master", ())]
    workers, servers = (*chiefs, *tasks.get("worker", ())), tuple(tasks.get("ps", ()))
    everyone = (*workers, *servers)
    if not workers or len(chiefs) > 1 or len(set(everyone)) != len(everyone):
        raise ConfigError(f"TF_CONFIG: a cluster is distinct workers and at most one chief. Received: {tasks}")
    if servers and not (chiefs and len(workers) > 1):
        raise ConfigError(f"TF_CONFIG: parameter servers (ps) need a chief and a worker. Received: {tasks}")
    for address in everyone:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"TF_CONFIG: an address is host:port. Received: {address!r}")
    if not 0 <= index < len(tasks.get(kind, ())):
        raise ConfigError(f"TF_CONFIG: task {kind}:{index} is not in the cluster. Received: {tasks}")
    before = {"worker": len(chiefs), "ps": len(workers)}
    return Cluster(workers, before.get(kind, 0) + index, servers)


def tf_config_from_env(environment: Mapping[str, str]) -> str | None:
    """Returns the value of TF_CONFIG in the pod of a training job; None if the pod trains alone.

    A TFJob's operator sets TF_CONFIG itself, unless the job is one pod. Kubeflow Trainer sets nothing of the kind for a TrainJob.
    Its pods are those of a JobSet with one Indexed Job named `node`, and so have the addresses JOBSET-node-0-INDEX.JOBSET
    (`IdentifyPodNetwork` in kubeflow/trainer's pkg/runtime/framework/plugins/jobset). They come in the order of `Cluster.index`.

    Raises:
        ConfigError: A variable is missing, or no number.
    """
    if environment.get(TF_CONFIG):
        return environment[TF_CONFIG]
    jobset = environment.get(JOBSET)
    if not jobset:
        return None
    try:
        index, nodes, servers = (int(environment[name]) for name in (_INDEX, NODES, PARAMETER_SERVERS))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"a pod of a TrainJob needs the numbers {_INDEX}, {NODES} and {PARAMETER_SERVERS}: {error}") from error
    addresses = tuple(f"{jobset}-node-0-{i}.{jobset}:{PORT}" for i in range(nodes))
    if not 0 <= index < nodes or not 0 <= servers < nodes:
        raise ConfigError(f"{_INDEX} and {PARAMETER_SERVERS} must be less than {NODES}. Received: {index}, {servers}, {nodes}")
    return Cluster(addresses[: nodes - servers], index, addresses[nodes - servers :]).tf_config()


def members(workers: int, parameter_servers: int = 0) -> tuple[str, ...]:
    """Returns the `Cluster.name` of every process, in the order of `Cluster.index`; the first is the chief's."""
    if not parameter_servers:
        return tuple(f"worker-{index}" for index in range(workers))
    return ("chief-0", *(f"worker-{index}" for index in range(workers)), *(f"ps-{index}" for index in range(parameter_servers)))


def local_cluster(workers: int, parameter_servers: int = 0) -> tuple[Cluster, ...]:
    """Returns the clusters of processes on this machine, on ports that were free a moment ago.

    Args:
        workers: How many train.
        parameter_servers: How many hold the variables; with any, there is also a chief, which is in front of the workers.
    """
    chief = 1 if parameter_servers else 0
    with contextlib.ExitStack() as stack:
        # All open at once: distinct ports.
        sockets = [stack.enter_context(socket.socket()) for _ in range(chief + workers + parameter_servers)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        addresses = tuple(f"127.0.0.1:{bound.getsockname()[1]}" for bound in sockets)
    first_server = chief + workers
    return tuple(Cluster(addresses[:first_server], index, addresses[first_server:]) for index in range(len(addresses)))
