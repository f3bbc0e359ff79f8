"""A process that trains: what it does as the member of a cluster, or on its own.

`python -m components.trainer.worker WORK_DIR` is one of a local cluster, started by `launch.launch`; what it reads and leaves in
WORK_DIR is said in `components.trainer.work_dir`.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from components.trainer.cluster import TF_CONFIG, Cluster, parse_tf_config
from components.trainer.work_dir import read_job, write_error, write_trained
from schemas import interrupts
from schemas.config import TrainerConfig
from schemas.errors import ClickrankError, ConfigError

if TYPE_CHECKING:
    from components.trainer.job import Job, Trained


def find_cluster(trainer: TrainerConfig, tf_config: str | None) -> Cluster | None:
    """Returns the cluster that a value of TF_CONFIG names, if the strategy is one for clusters.

    Raises:
        ConfigError: The value is malformed, or the cluster is one of another strategy.
    """
    if not trainer.is_distributed or not tf_config:
        return None
    cluster = parse_tf_config(tf_config)
    if bool(cluster.servers) != trainer.is_asynchronous:
        raise ConfigError(
            "TF_CONFIG: trainer.strategy=parameter_server needs parameter servers (ps), and no other can use them. "
            f"Received: {trainer.strategy}, {cluster.addresses()}"
        )
    return cluster


def take_part(
    job: "Job",
    cluster: Cluster | None,
    on_ready: Callable[[], None] = lambda: None,
    may_leave: Callable[[], bool] = interrupts.stop_requested,
) -> "Trained | None":
    """Trains as the member of a cluster that this process is, until it is done or asked to stop (`schemas.interrupts`).

    Args:
        job: What is trained.
        cluster: TensorFlow must not have done anything in this process yet. None: this process trains alone.
        on_ready: Called when this process can be reached; where it coordinates or trains, when all others can.
        may_leave: Whether a parameter server, or a worker of one, is no longer needed.

    Returns:
        None on a parameter server, or a worker of one.

    Raises:
        ClickrankError: See `execute`.
    """
    from components.trainer.distribution import coordinate, join_cluster, leave_cluster, local_strategy, serve
    from components.trainer.job import execute

    stop_requested = interrupts.stop_requested
    if cluster is None:
        on_ready()
        return execute(job, local_strategy(job.trainer.strategy), stop_requested=stop_requested)
    workers = len(cluster.workers)
    if not cluster.servers:
        strategy = join_cluster(cluster)
        on_ready()
        trained = execute(job, strategy, worker=cluster.index, workers=workers, stop_requested=stop_requested)
        leave_cluster(strategy)
        return trained
    if cluster.is_chief:
        strategy = coordinate(cluster)
        on_ready()
        return execute(job, strategy, workers=workers - 1, stop_requested=stop_requested)
    serve(cluster, on_ready, may_leave)
    return None


def listen() -> None:
    """Takes a SIGTERM for a request to stop; to be called again when the process has joined its cluster.

    TensorFlow's coordination service puts a handler of its own in the place of ours there (its preemption_notifier.cc), which ends
    nothing. The chief saves and stops; the others go on until whoever started them, or the chief's absence, ends them.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: interrupts.request_stop())


def prepare() -> None:
    """Sets up the log and the signals of a process that does nothing but train."""
    listen()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")


def main(work_dir: Path) -> int:
    """Returns the exit code."""
    interrupts.die_with_parent()
    prepare()
    cluster = parse_tf_config(os.environ[TF_CONFIG])

    def on_ready() -> None:
        listen()
        (work_dir / f"{cluster.name}.ready").touch()

    try:
        trained = take_part(read_job(work_dir), cluster, on_ready)
    except ClickrankError as error:
        write_error(work_dir, cluster.name, error)
        return error.exit_code
    if trained and cluster.is_chief:
        write_trained(work_dir, trained)
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise ConfigError("usage: python -m components.trainer.worker WORK_DIR")
    sys.exit(main(Path(sys.argv[1])))
