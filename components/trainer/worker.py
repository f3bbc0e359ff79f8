"""A worker process of a local cluster: `python -m components.trainer.worker WORK_DIR`, started by `cluster.launch`.

Reads `job.json` in WORK_DIR. The chief leaves `trained.json` there: where the weights are.
"""

import dataclasses
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from components.trainer.cluster import TF_CONFIG, Cluster, parse_tf_config, write_error
from schemas import interrupts
from schemas.errors import ClickrankError, ConfigError

JOB = "job.json"
TRAINED = "trained.json"


def run_worker(work_dir: Path, cluster: Cluster) -> None:
    """Trains the job in `work_dir` as the member of `cluster` that this process is."""
    from components.trainer import job as jobs
    from components.trainer.distribution import join_cluster, leave_cluster

    job = jobs.Job.model_validate_json((work_dir / JOB).read_text())
    strategy = join_cluster(cluster)
    (work_dir / f"worker-{cluster.index}.ready").touch()
    trained = jobs.execute(
        job, strategy, worker=cluster.index, workers=len(cluster.workers), stop_requested=interrupts.stop_requested
    )
    if cluster.is_chief:
        (work_dir / TRAINED).write_text(json.dumps(dataclasses.asdict(trained)))
    leave_cluster(strategy)


def _die_with_parent() -> None:
    """Ends this process when the launcher is gone, even if that was killed: its end of our stdin then closes."""

    def wait() -> None:
        os.read(0, 1)  # unbuffered: a lock held by this thread would abort the interpreter's shutdown
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(work_dir: Path) -> int:
    """Returns the exit code."""
    _die_with_parent()
    # The chief saves and stops; the others go on until the launcher, or the chief's absence, ends them.
    signal.signal(signal.SIGTERM, lambda number, frame: interrupts.request_stop())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    cluster = parse_tf_config(os.environ[TF_CONFIG])
    try:
        run_worker(work_dir, cluster)
    except ClickrankError as error:
        write_error(work_dir, cluster.index, error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise ConfigError("usage: python -m components.trainer.worker WORK_DIR")
    sys.exit(main(Path(sys.argv[1])))
