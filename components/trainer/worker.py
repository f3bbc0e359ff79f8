"""A process of a local cluster: `python -m components.trainer.worker WORK_DIR`, started by `launch.launch`.

Reads `job.json` in WORK_DIR. The chief leaves `trained.json` there: where the weights are.
"""

import dataclasses
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from components.trainer.cluster import TF_CONFIG, Cluster, parse_tf_config
from components.trainer.launch import write_error
from schemas import interrupts
from schemas.errors import ClickrankError, ConfigError

if TYPE_CHECKING:
    from components.trainer.job import Job, Trained

JOB = "job.json"
TRAINED = "trained.json"


def take_part(job: "Job", cluster: Cluster, on_ready: Callable[[], None] = lambda: None) -> "Trained | None":
    """Trains as the member of a cluster that this process is, until it is done or asked to stop (`schemas.interrupts`).

    Args:
        job: What is trained.
        cluster: TensorFlow must not have done anything in this process yet.
        on_ready: Called when this process can be reached; where it coordinates or trains, when all others can.

    Returns:
        None on a parameter server, or a worker of one.

    Raises:
        ClickrankError: See `execute`.
    """
    from components.trainer.distribution import coordinate, join_cluster, leave_cluster, serve
    from components.trainer.job import execute

    stop_requested, workers = interrupts.stop_requested, len(cluster.workers)
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
    serve(cluster, on_ready, stop_requested)
    return None


def run_worker(work_dir: Path, cluster: Cluster) -> None:
    """Trains the job in `work_dir` as the member of `cluster` that this process is."""
    from components.trainer.job import Job

    job = Job.model_validate_json((work_dir / JOB).read_text())
    trained = take_part(job, cluster, (work_dir / f"{cluster.name}.ready").touch)
    if trained and cluster.is_chief:
        (work_dir / TRAINED).write_text(json.dumps(dataclasses.asdict(trained)))


def main(work_dir: Path) -> int:
    """Returns the exit code."""
    interrupts.die_with_parent()
    # The chief saves and stops; the others go on until the launcher, or the chief's absence, ends them.
    signal.signal(signal.SIGTERM, lambda number, frame: interrupts.request_stop())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    cluster = parse_tf_config(os.environ[TF_CONFIG])
    try:
        run_worker(work_dir, cluster)
    except ClickrankError as error:
        write_error(work_dir, cluster, error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise ConfigError("usage: python -m components.trainer.worker WORK_DIR")
    sys.exit(main(Path(sys.argv[1])))
