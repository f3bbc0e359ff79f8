"""The folder by which processes that train together, and who started them, tell each other what is not training.

`job.json` is for all of them. The chief leaves `trained.json`, a process that failed `NAME.error`, where NAME is its
`Cluster.name`. Imports no TensorFlow.
"""

import dataclasses
import errno
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas import errors
from schemas.errors import ClickrankError

if TYPE_CHECKING:
    from components.trainer.job import Job, Trained

JOB = "job.json"
TRAINED = "trained.json"

_TRIES = 10


def write_job(work_dir: Path, job: "Job") -> None:
    """Leaves the job for all."""
    write_whole(work_dir / JOB, job.model_dump_json())


def read_job(work_dir: Path) -> "Job":
    """Returns the job."""
    from components.trainer.job import Job

    return Job.model_validate_json((work_dir / JOB).read_text())


def write_trained(work_dir: Path, trained: "Trained") -> None:
    """Leaves what training came to."""
    write_whole(work_dir / TRAINED, json.dumps(dataclasses.asdict(trained)))


def read_trained(work_dir: Path) -> "Trained":
    """Returns what training came to."""
    from components.trainer.job import Trained

    return Trained(**json.loads((work_dir / TRAINED).read_text()))


def write_error(work_dir: Path, name: str, error: ClickrankError, uid: str = "") -> None:
    """Leaves a process's error; `uid` tells it from earlier processes of the same name."""
    write_whole(_error(work_dir, name), json.dumps([type(error).__name__, str(error), uid]))


def read_error(work_dir: Path, name: str, uid: str = "") -> ClickrankError | None:
    """Returns the error that a process left; None if it left none."""
    found = read_json(_error(work_dir, name))
    if found is None or found[2] != uid:
        return None
    kind = getattr(errors, found[0], ClickrankError)
    return kind(found[1])  # type: ignore[no-any-return]


def write_whole(file: Path, text: str) -> None:
    """Writes a file so that a reader sees all of it or nothing."""
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")  # pods have the same pids
    aside.write_text(text)
    os.replace(aside, file)


def read_json(file: Path) -> Any:
    """Returns what is in a file; None if there is none.

    A file on another machine that is replaced while it is read is stale for NFS: it is read again.
    """
    for left in reversed(range(_TRIES)):
        try:
            return json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ESTALE or not left:
                raise
    raise AssertionError("not reached")


def _error(work_dir: Path, name: str) -> Path:
    return work_dir / f"{name}.error"
