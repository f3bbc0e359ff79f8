"""What the records of a split hold: read by the Trainer before a single record is."""

import posixpath
from collections.abc import Iterable

import tensorflow as tf
from pydantic import BaseModel, ConfigDict

from schemas.errors import InputDataError
from schemas.records import MANIFEST


class RecordFile(BaseModel):
    """One file.

    Attributes:
        name: Its name in the split's folder.
        shard: The shard that it belongs to.
        rows: Rows of each record, in order.
        displays: Displays of each record.
        longest: Rows of the largest display.
        digest: CRC-32 of the records, one after the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shard: int
    rows: tuple[int, ...]
    displays: tuple[int, ...]
    longest: int
    digest: int


class Manifest(BaseModel):
    """All files of a split.

    Attributes:
        fingerprint: Of the layout (`RecordLayout.fingerprint`).
        record_rows: Rows of a full record.
        shards: Number of shards; every display is in one.
        files: By shard, then name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: int
    record_rows: int
    shards: int
    files: tuple[RecordFile, ...]

    @property
    def rows(self) -> int:
        """Rows of the split."""
        return sum(sum(file.rows) for file in self.files)

    @property
    def displays(self) -> int:
        """Displays of the split."""
        return sum(sum(file.displays) for file in self.files)

    def of_shard(self, shard: int) -> tuple[RecordFile, ...]:
        """The files of one shard."""
        return tuple(file for file in self.files if file.shard == shard)


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Writes the manifest into the split's folder."""
    with tf.io.gfile.GFile(posixpath.join(folder, MANIFEST), "w") as file:
        file.write(manifest.model_dump_json())


def read_manifest(folder: str, split: str) -> Manifest:
    """Reads the manifest of a split's folder.

    Raises:
        InputDataError: There is none, it is damaged, a file that it names is not there, or it has no row.
    """
    path = posixpath.join(folder, MANIFEST)
    try:
        with tf.io.gfile.GFile(path) as file:
            manifest = Manifest.model_validate_json(file.read())
    except tf.errors.NotFoundError as error:
        raise InputDataError(f"{path}: no such file; the {split} split was not made by Prebatch") from error
    except ValueError as error:
        raise InputDataError(f"{path}: damaged, or no manifest of prebatched records") from error
    missing = _missing(folder, (file.name for file in manifest.files))
    if missing:
        raise InputDataError(f"{posixpath.join(folder, missing)}: no such file, but the manifest of the {split} split names it")
    if not manifest.rows:
        raise InputDataError(f"the {split} split has no rows: {path}")
    return manifest


def _missing(folder: str, names: Iterable[str]) -> str | None:
    there = set(tf.io.gfile.listdir(folder))
    return next((name for name in names if name not in there), None)
