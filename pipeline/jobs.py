"""The ids of runs that something else starts: an orchestrator that cannot say when a run began, and a caller who names none.

Ids of runs begin with a time, for folders of runs sort by it, and all nodes of a run must be given the same one.
"""

import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path

from pipeline.locks import file_errors
from pipeline.paths import RootPaths
from schemas.errors import ConfigError

_RUN_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]{1,40}")
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def new_run_id(name: str | None = None) -> str:
    """Returns an id for a run that begins now, of that name of small letters and digits, or of four random ones."""
    return time.strftime("%Y%m%d-%H%M%S-") + (name or secrets.token_hex(2))


def check_run_id(run_id: str) -> str:
    """Returns a run's id that is well-formed.

    Raises:
        ConfigError: It is not.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ConfigError(
            "--run-id is YYYYMMDD-HHMMSS-NAME, the time at which the run began and a name of small letters and digits. "
            f"Received: {run_id!r}"
        )
    return run_id


def choose_run_id(root: Path, run_id: str | None, job: str | None) -> str:
    """Returns the id of the run that a node belongs to: the one given, or that of the job.

    The first node of a job that asks makes the id, and keeps it in the root; all others, and every retry, get the same.

    Raises:
        ConfigError: Neither or both are given, or one is not well-formed.
    """
    if (run_id is None) == (job is None):
        raise ConfigError("a node needs --run-id, or --job in its place")
    if run_id is not None:
        return check_run_id(run_id)
    if not _JOB.fullmatch(job or ""):
        raise ConfigError(
            "--job is a name of letters, digits, '.', '_' and '-'; one in {{}} is a word of Kubeflow's that it did not replace: "
            f"give each run a run_id of its own. Received: {job!r}"
        )
    file = RootPaths(root.absolute()).jobs / str(job)
    with file_errors(f"--root {root}"):
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            aside = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
            aside.write_text(new_run_id(re.sub("[^a-z0-9]", "", str(job).lower())[:40]))
            # Only one of several that come here at once succeeds, and what it made is complete.
            with suppress(FileExistsError):
                os.link(aside, file)
            aside.unlink()
        return check_run_id(file.read_text())
