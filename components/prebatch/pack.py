"""Rows of transformed Examples, packed, shuffled by display, and written as records."""

import posixpath
import uuid
import zlib
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf

from components.prebatch.manifest import RecordFile
from schemas.errors import ConfigError, InputDataError
from schemas.records import LABEL, RecordLayout
from transforms.partition import Parcel, mix, partition_of, receive, scatter, ship

DISPLAY, ROW = "display_id", "row"
_BATCH_ROWS = 1 << 14
_SALT = 0x5DEECE66D
"""Displays are dealt out by their hash; the order within a file must be another one."""


class ReadPacked(beam.DoFn):
    """A GZIP TFRecord file of transformed Examples -> (number of a file to come, its rows), as Arrow tables in parcels.

    A table has the columns `display_id` and `row`, the latter what `RecordLayout.pack` makes of a row.
    """

    def __init__(self, layout: RecordLayout, spec: dict[str, tf.io.FixedLenFeature], files: int, work: str):
        self._layout, self._spec, self._files, self._work = layout, spec, files, work

    def process(self, path: str) -> Iterator[tuple[int, Parcel]]:
        for columns in self._read(path):
            displays = columns.pop(DISPLAY)
            rows = pa.table({DISPLAY: displays, ROW: as_arrow(self._layout.pack(columns))})
            for number, part in scatter(rows, partition_of(displays, self._files)):
                yield number, ship(part, self._work)

    def _read(self, path: str) -> Iterator[dict[str, np.ndarray]]:
        spec = self._spec
        dataset = tf.data.TFRecordDataset(path, compression_type="GZIP").batch(_BATCH_ROWS)
        try:
            for batch in dataset.map(lambda serialized: tf.io.parse_example(serialized, spec)):
                columns = {name: values.numpy() for name, values in batch.items()}
                if (columns[LABEL] < 0).any():
                    raise InputDataError(f"{path}: a row of a split has no label")
                yield columns
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
            raise InputDataError(f"{path}: damaged, or no transformed Examples of this encoding") from error


class WriteRecords(beam.DoFn):
    """(number of a file, its rows) -> the file, and what the manifest says of it. Doing it again gives the same file."""

    def __init__(self, layout: RecordLayout, record_rows: int, shards: int, folder: str):
        self._layout, self._record_rows, self._shards, self._folder = layout, record_rows, shards, folder

    def process(self, element: tuple[int, Iterable[Parcel]]) -> Iterator[RecordFile]:
        number, parcels = element
        rows = pa.concat_tables([receive(parcel) for parcel in parcels])
        shard = number % self._shards
        name = f"records-{shard:05d}-of-{self._shards:05d}-{number // self._shards:05d}.tfrecord"
        aside = posixpath.join(self._folder, f".{uuid.uuid4().hex}")
        rows_of, displays_of, longest, digest = [], [], 0, 0
        with tf.io.TFRecordWriter(aside) as writer:
            for packed, sizes, display_ids in cut_records(*shuffle_displays(rows), self._record_rows):
                record = self._layout.encode(packed, sizes, display_ids)
                writer.write(record)
                rows_of.append(len(packed))
                displays_of.append(len(sizes))
                longest = max(longest, int(sizes.max()))
                digest = zlib.crc32(record, digest)
        tf.io.gfile.rename(aside, posixpath.join(self._folder, name), overwrite=True)
        yield RecordFile(name=name, shard=shard, rows=tuple(rows_of), displays=tuple(displays_of), longest=longest, digest=digest)


def as_arrow(packed: np.ndarray) -> pa.Array:
    """Makes uint8 (n, k) an Arrow array of n fixed-size binaries."""
    kind = pa.binary(packed.shape[1])
    return pa.Array.from_buffers(kind, len(packed), [None, pa.py_buffer(np.ascontiguousarray(packed))])


def shuffle_displays(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Orders rows by a hash of their display, and within it by a hash of their bytes: the same whatever order they came in.

    Returns:
        The packed rows, uint8 (n, row_bytes); rows of each display, (d,); display ids, (d,).
    """
    ids = rows[DISPLAY].to_numpy()
    packed = _as_numpy(rows[ROW].combine_chunks())
    order = np.lexsort((_hash_rows(packed), mix(ids ^ _SALT)))
    ids = ids[order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    return packed[order], np.diff(np.r_[starts, len(ids)]), ids[starts]


def cut_records(
    packed: np.ndarray, sizes: np.ndarray, display_ids: np.ndarray, record_rows: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Cuts rows into records of whole displays, each as large as `record_rows` allows; a larger display has one of its own."""
    ends = np.cumsum(sizes)
    first, done = 0, 0
    while first < len(sizes):
        last = max(first + 1, int(np.searchsorted(ends, done + record_rows, side="right")))
        yield packed[done : ends[last - 1]], sizes[first:last], display_ids[first:last]
        first, done = last, int(ends[last - 1])


def _as_numpy(rows: pa.Array) -> np.ndarray:
    width = rows.type.byte_width
    values = np.frombuffer(rows.buffers()[1], np.uint8, len(rows) * width, rows.offset * width)
    return values.reshape(len(rows), width)


def _hash_rows(packed: np.ndarray) -> np.ndarray:
    """A hash of each row's bytes, uint64 (n,)."""
    words = np.pad(packed, [(0, 0), (0, -packed.shape[1] % 8)]).view(np.uint64)  # (n, words)
    total = np.zeros(len(packed), np.uint64)
    for word in words.T:
        total = mix((total ^ word).view(np.int64))
    return total


def parse_spec(transformed: dict[str, tf.io.FixedLenFeature], layout: RecordLayout) -> dict[str, tf.io.FixedLenFeature]:
    """Returns the parsing spec of what Prebatch reads of a transformed Example.

    Raises:
        ConfigError: Transform did not write a column.
    """
    names = [*(column.name for column in layout.columns), DISPLAY]
    missing = [name for name in names if name not in transformed]
    if missing:
        raise ConfigError(f"not in the transformed Examples: {', '.join(missing)}; did Transform run with the same encoding?")
    return {name: transformed[name] for name in names}
