"""A worker process of a local cluster: `python -m components.trainer.worker WORK_DIR`, started by `cluster.launch`.

Reads `job.json` in WORK_DIR; the chief leaves the trained weights there as `weights.npz`.
"""

import logging
import os
import sys
import threading
from pathlib import Path

from components.trainer.cluster import TF_CONFIG, Cluster, parse_tf_config, write_error
from schemas.errors import ClickrankError, ConfigError

JOB = "job.json"
WEIGHTS = "weights.npz"


def run_worker(work_dir: Path, cluster: Cluster) -> None:
    """Trains the job in `work_dir` as the member of `cluster` that this process is."""
    from components.trainer import job as jobs
    from components.trainer.distribution import join_cluster, leave_cluster

    job = jobs.Job.model_validate_json((work_dir / JOB).read_text())
    strategy = join_cluster(cluster)
    (work_dir / f"worker-{cluster.index}.ready").touch()
    fitted = jobs.execute(job, strategy, worker=cluster.index, workers=len(cluster.workers))
    if cluster.is_chief:
        jobs.save_weights(str(work_dir / WEIGHTS), fitted.weights)
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
