"""What each pod of a training job runs: `python3 -m components.training_job.member WORK_DIR`."""

import contextlib
import logging
import os
import sys
import threading
from pathlib import Path
from typing import NoReturn

from components.trainer import worker
from components.trainer.cluster import TF_CONFIG, members, tf_config_from_env
from components.trainer.work_dir import read_job, write_error, write_trained
from components.training_job.group import TRY_AGAIN
from components.training_job.members import Meeting
from components.training_job.pods import UID
from schemas import interrupts
from schemas.errors import ClickrankError, ConfigError, TransientError, recover

_POLL_S = 1.0

logger = logging.getLogger(__name__)


def exit_code(error: ClickrankError) -> int:
    """Returns what a pod ends with."""
    return TRY_AGAIN if isinstance(error, TransientError) else error.exit_code


def main(work_dir: Path) -> int:
    """Returns the exit code."""
    worker.prepare()
    uid, name = os.environ.get(UID, ""), "worker-0"
    try:
        job = read_job(work_dir)
        tf_config = tf_config_from_env(os.environ)
        cluster = worker.find_cluster(job.trainer, tf_config)
        if cluster and tf_config:
            name = cluster.name
            os.environ[TF_CONFIG] = tf_config  # TensorFlow reads it there
        servers = len(cluster.servers) if cluster else 0
        count = len(cluster.workers) - bool(servers) if cluster else 1
        meeting = Meeting(work_dir, members(count, servers), name, uid, has_chief=bool(servers))
        meeting.meet(interrupts.stop_requested)

        def on_ready() -> None:
            worker.listen()
            meeting.is_ready()

        watch = threading.Thread(target=_end_with_the_others, args=(meeting,), daemon=True)
        watch.start()
        # Not when asked to stop: the chief needs the others to save.
        trained = worker.take_part(job, cluster, on_ready, meeting.is_over)
        if trained and (cluster is None or cluster.is_chief):
            write_trained(work_dir, trained)
    except Exception as error:
        known = recover(error, str(work_dir))
        if known is None:
            raise
        logger.error("%s", known)
        with contextlib.suppress(OSError):  # the disk may be full
            write_error(work_dir, name, known, uid)
        return exit_code(known)
    return 0


def _end_with_the_others(meeting: Meeting) -> None:
    """Ends this process when it can no longer train with those that it met: nothing wakes TensorFlow from waiting for them."""
    while True:
        trouble = meeting.trouble()
        if trouble and not meeting.is_over():
            logger.warning("%s; ending, to begin again with all", trouble)
            _end(TRY_AGAIN)
        threading.Event().wait(_POLL_S)


def _end(code: int) -> NoReturn:
    """Not in good order: TensorFlow's way out waits for peers that may have left already."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise ConfigError("usage: python3 -m components.training_job.member WORK_DIR")
    _end(main(Path(sys.argv[1])))
