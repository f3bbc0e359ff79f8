"""Files that outlive a crash, and a folder that one process at a time changes."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.pusher.manifest import MANIFEST, files_of
from schemas.errors import ClickrankError, ConfigError, TransientError

_LOCK = ".lock"


def copy_files(source: Path, target: Path) -> None:
    """Copies a model to a new folder, and nothing of its metadata: Serving may run as another user, and the umask says what it may
    read. A manifest stays behind.
    """
    target.mkdir()
    for name, path in files_of(source):
        if name != MANIFEST.as_posix():
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def write_synced(path: Path, text: str) -> None:
    """Writes a file and makes it durable."""
    path.write_text(text)
    sync_path(path)


def sync_tree(folder: Path) -> None:
    """Makes files, then folders durable, so that the rename cannot be on the disk before what it publishes."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_path(Path(parent, name))
        sync_path(Path(parent))


def sync_path(path: Path) -> None:
    """Makes one file, or the names in one folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(base: Path, *, make: bool) -> Iterator[None]:
    """Holds the folder's lock, which the kernel gives back when its holder dies, and makes errors of the file system one line."""
    if "://" in os.fspath(base) or ":/" in os.fspath(base):
        raise ConfigError(f"push.directory {base}: must be a local or mounted folder; a rename is what makes a push atomic")
    try:
        if make:
            base.mkdir(parents=True, exist_ok=True)
        with (base / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise _cleared(error, base) from error


def _cleared(error: OSError, base: Path) -> ClickrankError | OSError:
    path = error.filename2 or error.filename or base  # a failed copy names its source first
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(f"{path}: {error.strerror}; nothing was pushed; free some space and run again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return ConfigError(f"{path}: {error.strerror}; nothing was pushed; push.directory must be a folder that can be written to")
    return error
