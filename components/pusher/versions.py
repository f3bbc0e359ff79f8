"""A folder of numbered model versions, as TensorFlow Serving polls it: a version is there completely or not at all.

base/.lock             held while a push is under way
base/.tmp-*            a push under way, or what a killed one left; Serving looks at numeric names only
base/1718000000/       a version: a SavedModel, and assets.extra/push.json about its push
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ClickrankError, ConfigError, InputDataError, TransientError

_LOCK = ".lock"
_TEMPORARY = ".tmp-"
MANIFEST = Path("assets.extra", "push.json")
"""Where a version says what it is. `assets.extra` is SavedModel's place for files that no loader reads."""

_NOT_CONTENT = frozenset({MANIFEST.as_posix(), "fingerprint.pb"})
"""Not part of a model's identity: the manifest is ours; the fingerprint holds hashes of the rest and a UUID drawn on saving."""

_COPY_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Version:
    """A pushed version.

    Attributes:
        number: Its number, a positive int.
        path: Its folder.
        digest: `content_digest` of it.
        reused: Whether it was there before, so that nothing was pushed.
    """

    number: int
    path: Path
    digest: str
    reused: bool


def push(source: str | Path, base: str | Path) -> Version:
    """Makes the SavedModel in `source` the newest version in `base`, unless the newest version already is that model.

    Concurrent pushes into the same folder wait for each other. Leftovers of killed ones are removed.

    Args:
        source: Folder of a SavedModel.
        base: Folder of the versions; made if it does not exist.

    Raises:
        InputDataError: `source` is not a SavedModel.
        ConfigError: `base` cannot be written to or is not a local path.
        TransientError: The disk is full.
    """
    source, base = Path(source), Path(os.fspath(base))
    if "://" in os.fspath(base) or ":/" in os.fspath(base):
        raise ConfigError(f"push.directory {base}: must be a local or mounted folder; a rename is what makes a push atomic")
    if not (source / "saved_model.pb").is_file():
        raise InputDataError(f"{source}: not a SavedModel, has no saved_model.pb")
    with _clear_os_errors(base):
        base.mkdir(parents=True, exist_ok=True)
        with _exclusive(base):
            # Whoever made these no longer holds the lock, so is gone.
            for leftover in base.glob(f"{_TEMPORARY}*"):
                shutil.rmtree(leftover)
            return _push_locked(source, base)


def versions(base: str | Path) -> list[int]:
    """Returns the numbers of the versions in `base`, ascending."""
    try:
        with os.scandir(base) as entries:
            return sorted(int(entry.name) for entry in entries if entry.name.isascii() and entry.name.isdigit() and entry.is_dir())
    except FileNotFoundError:
        return []


def content_digest(model: str | Path) -> str:
    """Returns a SHA-256 over the sorted relative paths and the contents of a SavedModel's files, as hex digits."""
    digest = hashlib.sha256()
    for name, path in _files(Path(model)):
        if name in _NOT_CONTENT:
            continue
        # Lengths keep apart what would otherwise be the same bytes: a file named ab holding c, and one named a holding bc.
        digest.update(f"{len(name.encode())}:{name}:{path.stat().st_size}:".encode())
        with path.open("rb") as file:
            while chunk := file.read(_COPY_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _push_locked(source: Path, base: Path) -> Version:
    digest = content_digest(source)
    newest = max(versions(base), default=0)
    if newest:
        path = next(p for p in base.iterdir() if p.name.isdigit() and int(p.name) == newest)
        if content_digest(path) == digest:
            return Version(newest, path, digest, reused=True)
    # A timestamp, as TFX's Pusher: a number is not used again when someone deletes the newest version to roll back.
    number = max(int(time.time()), newest + 1)
    temporary, target = base / f"{_TEMPORARY}{number}-{os.getpid()}", base / str(number)
    try:
        _copy(source, temporary)
        manifest = {"version": number, "digest": digest, "source": os.fspath(source), "pushed_at": int(time.time())}
        (temporary / MANIFEST).parent.mkdir(exist_ok=True)
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        _sync(temporary)
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_path(base)
    return Version(number, target, digest, reused=False)


def _copy(source: Path, target: Path) -> None:
    """Copies files and nothing of their metadata: Serving may run as another user, and the umask says what it may read."""
    target.mkdir()
    for name, path in _files(source):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _sync(folder: Path) -> None:
    """Makes files, then folders durable, so that the rename cannot be on the disk before what it publishes."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync_path(Path(parent, name))
        _sync_path(Path(parent))


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    return sorted((path.relative_to(folder).as_posix(), path) for path in paths)


@contextmanager
def _exclusive(base: Path) -> Iterator[None]:
    """Holds the folder's lock; the kernel gives it back when its holder dies."""
    with (base / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _clear_os_errors(base: Path) -> Iterator[None]:
    try:
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
