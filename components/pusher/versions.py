"""A folder of numbered model versions, as TensorFlow Serving polls it: a version is there completely or not at all.

base/.lock             held while a push or a rollback is under way
base/.tmp-*            what is under way, or what a killed one left; Serving looks at numeric names only
base/1718000000/       a version: a SavedModel, and assets.extra/push.json about it (`components.pusher.manifest`)
base/CURRENT           the number of the version in service, written last

Serving takes the highest number, so this is the version in service; CURRENT says the same to whoever reads a file. The two differ
only after a kill between the last two renames, until the next push or rollback, and where somebody removed the model of the newest
version: CURRENT passes that over, which Serving does not, and the next push makes a newer one.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from components.pusher.durable import copy_files, locked, sync_path, sync_tree, write_synced
from components.pusher.manifest import Manifest, checksums, content_digest, damage, digest_of, read_manifest, recorded_digest
from schemas.errors import NOT_PUSHED_EXIT_CODE, ClickrankError, ConfigError, InputDataError, TransientError

CURRENT = "CURRENT"
_TEMPORARY = ".tmp-"


class WithdrawnError(ClickrankError):
    """The model was in service and was rolled back; it does not go out again by itself."""

    exit_code = NOT_PUSHED_EXIT_CODE


@dataclass(frozen=True, slots=True)
class Version:
    """A version that was pushed or put back.

    Attributes:
        number: Its number, a positive int.
        path: Its folder.
        digest: `content_digest` of it.
        reused: Whether it was there before, so that nothing was done; with `only_new`, a newer one may be in service.
    """

    number: int
    path: Path
    digest: str
    reused: bool


def push(source: str | Path, base: str | Path, *, only_new: bool = False) -> Version:
    """Makes the SavedModel in `source` the newest version in `base`, unless the newest version already is that model.

    Concurrent pushes into the same folder wait for each other. What killed ones left is removed or finished.

    Args:
        source: Folder of a SavedModel.
        base: Folder of the versions; made if it does not exist.
        only_new: Whether a model that any version holds stays out, and not only that of the newest.

    Raises:
        InputDataError: `source` is not a SavedModel.
        ConfigError: `base` cannot be written to or is not a local path.
        TransientError: The disk is full, or `source` changed while it was copied.
        WithdrawnError: The model was taken out of service by a rollback.
    """
    source, base = Path(source), Path(base)
    if not (source / "saved_model.pb").is_file():
        raise InputDataError(f"{source}: not a SavedModel, has no saved_model.pb")
    with locked(base, make=True):
        _finish(base)
        digest, newest = content_digest(source), max(versions(base), default=0)
        if newest and content_digest(path_of(base, newest)) == digest:
            return Version(newest, path_of(base, newest), digest, reused=True)
        if digest in (withdrawn := _withdrawn(base)):
            number = withdrawn[digest]
            raise WithdrawnError(
                f"this model is version {number}, which was rolled back; `clickrank rollback --to {number}` puts it back in service"
            )
        held = [path_of(base, n) for n in versions(base)] if only_new else []
        for path in reversed(held):
            if recorded_digest(path) == digest:
                return Version(int(path.name), path, digest, reused=True)
        return _publish(source, base, digest, source=str(source))


def rollback(base: str | Path, to: int | None = None) -> Version:
    """Puts an older version back in service: a copy of it becomes the newest version, unless the newest version is the same model.

    The version that was in service stays where it is, but `push` does not take its model any more, until a rollback puts it back.

    Args:
        base: Folder of the versions.
        to: Number of the version to put back; the latest one before that in service that is another model and was not rolled
            back itself, unless given.

    Raises:
        ConfigError: There is no such version, or `base` cannot be written to.
        InputDataError: The version is not what was pushed.
        TransientError: The disk is full.
    """
    base = Path(base)
    if not versions(base):
        raise ConfigError(f"{base}: there is no version to go back to")
    with locked(base, make=False):
        finished = _finish(base)
        path = path_of(base, max(versions(base)))
        newest = Version(int(path.name), path, content_digest(path), reused=True)
        manifest = read_manifest(newest.path)
        if to is None and finished and manifest and manifest.restores is not None:
            return newest  # what a killed rollback had all but done
        number = _choose(base, newest) if to is None else to
        if number not in versions(base):
            raise ConfigError(f"{base}: there is no version {number}; there are {', '.join(map(str, versions(base)))}")
        target = path_of(base, number)
        if broken := damage(target, contents=True):
            raise InputDataError(f"{target}: damaged, so it is not put back in service: {broken}")
        digest, restored = content_digest(target), read_manifest(target)
        if digest == newest.digest:
            return newest
        source = restored.source if restored else str(target)
        return _publish(target, base, digest, source=source, restores=number, rolled_back_from=(newest.number, newest.digest))


def versions(base: str | Path) -> list[int]:
    """Returns the numbers of the versions in `base`, ascending."""
    try:
        with os.scandir(base) as entries:
            return sorted(int(entry.name) for entry in entries if _is_number(entry.name) and entry.is_dir())
    except FileNotFoundError:
        return []


def current(base: str | Path) -> Path | None:
    """Returns the folder of the version in service: the one that CURRENT names, or the newest where it names none; else None."""
    base = Path(base)
    number = _named(base) or _newest(base)
    return path_of(base, number) if number else None


def _named(base: Path) -> int:
    """The version that CURRENT names; 0 if it names none that is there with a model in it."""
    try:
        number = int((base / CURRENT).read_text())
    except (OSError, ValueError):
        return 0
    return number if (path_of(base, number) / "saved_model.pb").is_file() else 0


def _newest(base: Path) -> int:
    """The newest version with a model in it; 0 if there is none."""
    return max((n for n in versions(base) if (path_of(base, n) / "saved_model.pb").is_file()), default=0)


def path_of(base: Path, number: int) -> Path:
    """Returns the folder of a version; its name may have leading zeros."""
    return next((p for p in base.iterdir() if _is_number(p.name) and int(p.name) == number), base / str(number))


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _choose(base: Path, newest: Version) -> int:
    """The version that a rollback without a number means."""
    out = _withdrawn(base)
    for number in reversed(versions(base)):
        path = path_of(base, number)
        if number < newest.number and (path / "saved_model.pb").is_file():
            digest = recorded_digest(path)
            if digest != newest.digest and digest not in out:
                return number
    raise ConfigError(f"{base}: no version before {newest.number} is another model that was not rolled back; --to names one")


def _withdrawn(base: Path) -> dict[str, int]:
    """Digest -> number of the versions that a rollback took out of service and none put back."""
    out: dict[str, int] = {}
    for number in versions(base):
        manifest = read_manifest(path_of(base, number))
        if manifest:
            out.pop(manifest.digest, None)
            if manifest.rolled_back_from:
                out[manifest.rolled_back_from[1]] = manifest.rolled_back_from[0]
    return out


def _publish(
    folder: Path,
    base: Path,
    digest: str,
    *,
    source: str,
    restores: int | None = None,
    rolled_back_from: tuple[int, str] | None = None,
) -> Version:
    # A timestamp, as TFX's Pusher: a number is not used again when someone deletes the newest version.
    number = max(int(time.time()), max(versions(base), default=0) + 1)
    temporary, target = base / f"{_TEMPORARY}{number}-{os.getpid()}", base / str(number)
    pointer = base / f"{_TEMPORARY}{CURRENT}"
    try:
        copy_files(folder, temporary)
        files = checksums(temporary)
        if digest_of(files) != digest:
            raise TransientError(f"{folder}: changed while it was copied; nothing was pushed; run again")
        Manifest(number, digest, source, int(time.time()), files, restores, rolled_back_from).write(temporary)
        sync_tree(temporary)
        # Before the version appears: what is left to do then takes no space on the disk.
        write_synced(pointer, f"{number}\n")
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        pointer.unlink(missing_ok=True)
        raise
    sync_path(base)
    os.replace(pointer, base / CURRENT)
    sync_path(base)
    return Version(number, target, digest, reused=False)


def _finish(base: Path) -> bool:
    """Removes what a killed push or rollback left, and lets CURRENT name the newest version; returns whether it named another.

    Whoever left it no longer holds the lock, so is gone.
    """
    for leftover in base.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    newest, named = _newest(base), _named(base)
    if newest in (0, named):
        return False
    pointer = base / f"{_TEMPORARY}{CURRENT}"
    write_synced(pointer, f"{newest}\n")
    os.replace(pointer, base / CURRENT)
    sync_path(base)
    return bool(named)
