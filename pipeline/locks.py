"""Who may work at a root: one run, or the steps of one run, each a process of its own. A lock goes with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipeline.paths import RootPaths
from schemas.errors import ConfigError, TransientError, recover


@contextmanager
def file_errors(what: str) -> Iterator[None]:
    """Makes errors of the file system under the root one line."""
    try:
        yield
    except OSError as error:
        known = recover(error, what)
        if known is not None:
            raise known from error
        raise ConfigError(f"{what}: {error.filename or 'a file in it'} cannot be written: {error.strerror or error}") from error


@contextmanager
def locked(paths: RootPaths) -> Iterator[None]:
    """Two runs at one root would write one metadata store: the second is told to wait."""
    _make_root(paths.root)
    with _open(paths.lock) as lock:
        _take(lock, fcntl.LOCK_EX, paths)
        yield


@contextmanager
def locked_for_step(paths: RootPaths, run_id: str) -> Iterator[None]:
    """As `locked`, but steps of the same run may hold it together."""
    _make_root(paths.root)
    with _open(paths.lock) as lock:
        with looking_after(paths):  # no other step is between the two locks
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _take(lock, fcntl.LOCK_SH, paths)
                lock.seek(0)
                if lock.read() != run_id:
                    raise _in_use(paths) from None
            else:
                lock.truncate(0)
                lock.write(run_id)
                lock.flush()
                _take(lock, fcntl.LOCK_SH, paths)
        yield


@contextmanager
def looking_after(paths: RootPaths) -> Iterator[None]:
    """Waits until no other step looks after what steps share: the metadata store, and the files of their run."""
    with _open(paths.store_lock) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def alone(file: Path, node: str, run_id: str) -> Iterator[None]:
    """Two tries of one node must not overlap: the second is told to wait."""
    with _open(file) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TransientError(f"{node} of run {run_id} is running already; wait for it") from error
        yield


def _open(file: Path) -> IO[str]:
    return file.open("a+")  # over NFS, a shared lock needs a file that can be read, the other one that can be written


def _take(lock: IO[str], kind: int, paths: RootPaths) -> None:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _in_use(paths) from error


def _in_use(paths: RootPaths) -> TransientError:
    return TransientError(f"{paths.root}: another run is using this root; wait for it, or give another --root")


def _make_root(root: Path) -> None:
    if set(str(root)) & set("*?[]"):
        raise ConfigError(f"--root: its path must be free of * ? [ and ], which TFX takes for a pattern. Received: {root}")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise recover(error) or ConfigError(f"--root {root}: cannot be made: {error.strerror}") from error
    if not os.access(root, os.W_OK):
        raise ConfigError(f"--root {root}: cannot be written to")
