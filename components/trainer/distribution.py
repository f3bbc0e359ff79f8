"""Strategies whose replicas step together: one process, the devices of one process, or workers with one device each."""

import tensorflow as tf

from components.trainer.cluster import Cluster
from schemas.errors import ConfigError


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

    @tf.function
    def meet() -> tf.Tensor:
        return strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.constant(1.0)))

    meet()
