"""Strategies: one process, the devices of one process, workers with one device each that step together, or parameter servers."""

import os
import time
from collections.abc import Callable

import tensorflow as tf

from components.trainer.cluster import Cluster
from schemas.errors import ConfigError

_PROTOCOL = "grpc"
_POLL_S = 0.2


def local_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of a process on its own: `none`, or `mirrored` over its GPUs, or its logical CPUs without any."""
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()


def join_cluster(cluster: Cluster) -> tf.distribute.Strategy:
    """Joins the cluster that TF_CONFIG names, waits for all its workers and returns the strategy.

    To be called before TensorFlow does anything else in this process. Of several GPUs a worker takes the one of its index.

    Raises:
        ConfigError: The strategy does not have one replica for each worker.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[cluster.index % len(gpus)], "GPU")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if strategy.num_replicas_in_sync != len(cluster.workers):
        raise ConfigError(f"{strategy.num_replicas_in_sync} replicas in a cluster of {len(cluster.workers)} workers")
    leave_cluster(strategy)
    return strategy


def leave_cluster(strategy: tf.distribute.Strategy) -> None:
    """Waits until all workers have come here: one that goes early would make the others fail."""

    @tf.function(autograph=False)
    def meet() -> tf.Tensor:
        return strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.constant(1.0)))

    meet()


def coordinate(cluster: Cluster) -> tf.distribute.ParameterServerStrategy:
    """Connects the chief to all workers and parameter servers, waiting for them, and returns the strategy.

    To be called before TensorFlow does anything else in this process, which needs no GPU.
    """
    _fail_as_callers_say()
    tf.config.set_visible_devices([], "GPU")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.addresses()), rpc_layer=_PROTOCOL, task_type="chief", task_id=0
    )
    return tf.distribute.ParameterServerStrategy(resolver)


def serve(cluster: Cluster, on_start: Callable[[], None], stop_requested: Callable[[], bool]) -> None:
    """Does what the chief asks of this process, a worker or a parameter server, until `stop_requested`.

    To be called before TensorFlow does anything else in this process. Of several GPUs a worker takes the one of its number: it is
    one replica.
    """
    _fail_as_callers_say()
    kind, index = cluster.task
    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices([gpus[index % len(gpus)]] if gpus and kind == "worker" else [], "GPU")
    # One for each caller at least, as TensorFlow's guide has it: calls that wait in all of them would stop the server.
    threads = max(os.cpu_count() or 1, len(cluster.workers) + len(cluster.servers))
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=threads)
    server = tf.distribute.Server(tf.train.ClusterSpec(cluster.addresses()), kind, index, protocol=_PROTOCOL, config=config)
    on_start()
    # Not `server.join`, during which Python handles no signal; `server` ends with this function.
    while server and not stop_requested():
        time.sleep(_POLL_S)


def _fail_as_callers_say() -> None:
    """Lets calls to a process that is gone fail, or else they would wait for it for ever."""
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
