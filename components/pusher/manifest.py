"""What a pushed version says of itself, and whether it still is that."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFEST = Path("assets.extra", "push.json")
"""In a version's folder. `assets.extra` is SavedModel's place for files that no loader reads."""

_NOT_CONTENT = frozenset({MANIFEST.as_posix(), "fingerprint.pb"})
"""Not part of a model's identity: the manifest is ours; the fingerprint holds hashes of the rest and a UUID drawn on saving."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version: its size, and the SHA-256 of its content as hex digits."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version is and where it comes from.

    Attributes:
        version: Its number.
        digest: `content_digest` of its files.
        source: The folder that was pushed; of a version that a rollback made, that of the version it restores.
        pushed_at: Unix time in seconds.
        files: Path in the version's folder -> file, of all but the manifest; None in versions of before there were checksums.
        restores: The number of the version that a rollback put back in service; None if this is no rollback.
        rolled_back_from: Number and digest of the version that a rollback took out of service.
    """

    version: int
    digest: str
    source: str
    pushed_at: int
    files: dict[str, File] | None = None
    restores: int | None = None
    rolled_back_from: tuple[int, str] | None = None

    def write(self, folder: Path) -> None:
        """Writes `push.json` into a version's folder."""
        path = folder / MANIFEST
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """Reads a version's `push.json`; None if it has none that can be read: somebody else made it."""
    try:
        content: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        files, taken = content.pop("files", None), content.pop("rolled_back_from", None)
        return Manifest(
            **content,
            files=None if files is None else {name: File(**file) for name, file in files.items()},
            rolled_back_from=None if taken is None else (int(taken[0]), str(taken[1])),
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def checksums(folder: Path) -> dict[str, File]:
    """Reads all files of a folder but the manifest; returns path in the folder -> size and SHA-256, sorted."""
    return {name: _checksum(path) for name, path in files_of(folder) if name != MANIFEST.as_posix()}


def digest_of(files: dict[str, File]) -> str:
    """Returns the SHA-256 over what `sha256sum` prints for the files of a model, in the order of their paths, as hex digits."""
    lines = (f"{file.sha256}  {name}\n" for name, file in sorted(files.items()) if name not in _NOT_CONTENT)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def content_digest(folder: str | Path) -> str:
    """Returns what identifies a SavedModel: the same model saved twice has the same digest."""
    return digest_of(checksums(Path(folder)))


def recorded_digest(folder: Path) -> str:
    """Returns a version's digest as its manifest has it; computes it where there are no checksums."""
    manifest = read_manifest(folder)
    return manifest.digest if manifest and manifest.files else content_digest(folder)


def damage(folder: Path, *, contents: bool) -> str | None:
    """Returns how a version differs from its manifest, None if it does not, or if there is nothing to compare it with.

    Args:
        folder: The version.
        contents: Whether to read all files, and not only to look at their sizes.
    """
    if not (folder / "saved_model.pb").is_file():
        return "saved_model.pb is missing"
    manifest = read_manifest(folder)
    for name, expected in ((manifest.files if manifest else None) or {}).items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected.bytes:
            return f"{name} has {path.stat().st_size:,} bytes, not {expected.bytes:,} as when it was pushed"
        if contents and _checksum(path) != expected:
            return f"{name} is not what was pushed"
    return None


def files_of(folder: Path) -> list[tuple[str, Path]]:
    """Returns (path in the folder, path) of all files, sorted."""
    paths = (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    return sorted((path.relative_to(folder).as_posix(), path) for path in paths)


def _checksum(path: Path) -> File:
    with path.open("rb") as file:
        return File(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())
