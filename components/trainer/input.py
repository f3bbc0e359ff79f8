"""Prebatched records on disk -> batches.

The shards of a split are streams of rows, each in an order of its own that the epoch's seed determines. A global batch takes the
same number of rows from every stream. A replica reads the streams whose number is its own modulo the number of replicas, hence no
file of another's, and yet a step trains on the same rows with any number of replicas. A stream that has ended gives no more rows,
so that the last steps of an epoch may be short; every row is seen exactly once an epoch, and all replicas take the same number of
steps. The position in an epoch is its number of steps: reading on from there costs skipping, not training.
"""

import math
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import tensorflow as tf

from components.prebatch.manifest import Manifest, RecordFile, read_manifest
from schemas.errors import ConfigError, InputDataError
from schemas.records import HEADER, LABEL, MAGIC, Block, RecordLayout

SHUFFLE_RECORDS = 16
"""Records in the shuffle buffer of a stream; about 1 MB each."""

_FRAME_BYTES = 16
"""What TFRecord adds to a record."""

Blocks = dict[Block, tf.Tensor]


class Batch(NamedTuple):
    """A replica's part of one global batch, n rows; n may be 0 at the end of an epoch.

    Attributes:
        blocks: The records' matrices (n, columns) by dtype; `unpack` names their columns.
        display: int32 (n,), the number of the row's display in this batch, ascending from 0; empty (0,) where batches are cut by
            rows, and a display may be in two.
    """

    blocks: Blocks
    display: tf.Tensor


@dataclass(frozen=True)
class Records:
    """An opened split."""

    split: str
    folder: str
    manifest: Manifest
    layout: RecordLayout

    def paths(self, files: Sequence[RecordFile]) -> list[str]:
        """Where files are."""
        return [posixpath.join(self.folder, file.name) for file in files]

    @cached_property
    def rows_of_shards(self) -> tuple[int, ...]:
        """Rows of each shard."""
        return tuple(sum(sum(file.rows) for file in self.manifest.of_shard(s)) for s in range(self.manifest.shards))


def open_records(split: str, folder: str, layout: RecordLayout) -> Records:
    """Opens the records of a split.

    Raises:
        InputDataError: There are none, or one of their files is missing or not as long as it should be.
        ConfigError: They were written with another layout.
    """
    manifest = read_manifest(folder, split)
    if manifest.fingerprint != layout.fingerprint:
        raise ConfigError(f"{folder}: written for other features or another encoding than the model's; run Prebatch again")
    records = Records(split, folder, manifest, layout)
    check_sizes(records)
    return records


def check_sizes(records: Records) -> None:
    """Raises InputDataError if a file is not as long as its records are: TensorFlow takes some cut files for whole ones."""
    for file, path in zip(records.manifest.files, records.paths(records.manifest.files), strict=True):
        frames = (len(file.rows) - 1) * records.layout.record_bytes(0, 0) + len(file.rows) * _FRAME_BYTES
        expected = frames + records.layout.record_bytes(sum(file.rows), file.displays)
        found = tf.io.gfile.stat(path).length
        if found != expected:
            what = "cut short" if found < expected else "longer than its records"
            raise InputDataError(f"{path} byte {min(found, expected)}: {what}; expected {expected} bytes")


def steps_per_epoch(records: Records, global_batch_size: int, *, by_display: bool = False) -> int:
    """Returns the number of steps, the same for all replicas."""
    return max(_steps_of_shard(records, shard, global_batch_size, by_display) for shard in range(records.manifest.shards))


def check_batching(records: Records, global_batch_size: int, replicas: int) -> None:
    """Raises ConfigError if the shards cannot be dealt out to the replicas, or the batch to the shards."""
    shards = records.manifest.shards
    if shards % replicas:
        raise ConfigError(f"{replicas} replicas cannot share prebatch.shards = {shards}; it must be a multiple of their number")
    if global_batch_size % shards:
        raise ConfigError(f"trainer.global_batch_size {global_batch_size} is no multiple of prebatch.shards = {shards}")


class Reader:
    """Reads a split epoch after epoch, as one replica's `Batch` a step.

    Args:
        records: The split.
        global_batch_size: Rows of a step over all replicas.
        replica: This replica's number, 0 to replicas - 1.
        replicas: Number of replicas; divides the number of shards.
        by_display: Whether to cut between displays only; a global batch then has `global_batch_size` rows on average.
        shuffle: Whether epochs have an order of their own; otherwise it is that of the files.

    Raises:
        ConfigError: See `check_batching`. Reading raises tf.errors.DataLossError or InvalidArgumentError for a damaged or foreign
            file; `components.trainer.damage` finds which.
    """

    def __init__(
        self,
        records: Records,
        global_batch_size: int,
        *,
        replica: int = 0,
        replicas: int = 1,
        by_display: bool = False,
        shuffle: bool = False,
    ):
        check_batching(records, global_batch_size, replicas)
        self.steps_per_epoch = steps_per_epoch(records, global_batch_size, by_display=by_display)
        # Variables, so that the functions of the dataset are traced once and not every epoch, which costs a second.
        self._seed = tf.Variable(0, dtype=tf.int64)
        self._skip = tf.Variable(0, dtype=tf.int64)
        shards = range(replica, records.manifest.shards, replicas)
        rows = global_batch_size // records.manifest.shards
        files, counts = _file_table(records, shards)

        def stream(i: tf.Tensor) -> tf.data.Dataset:
            seed = self._seed * records.manifest.shards + replica + i * replicas if shuffle else None
            return _stream(records, files[i, : counts[i]], rows, by_display, seed)

        def epoch(_: tf.Tensor) -> tf.data.Dataset:
            streams = tf.data.Dataset.range(len(shards))
            parts = streams.interleave(stream, cycle_length=len(shards), block_length=1, num_parallel_calls=tf.data.AUTOTUNE)
            joined = parts.ragged_batch(len(shards)).map(_join)
            return joined.take(self.steps_per_epoch).skip(self._skip)

        options = tf.data.Options()
        options.deterministic = True
        self._dataset = tf.data.Dataset.from_tensors(0).flat_map(epoch).prefetch(2).with_options(options)

    def epoch(self, seed: int = 0, skip_steps: int = 0) -> Iterator[Batch]:
        """Returns the batches of one epoch.

        Args:
            seed: Determines the order, the same for all replicas.
            skip_steps: Steps to leave out at the start: where an interrupted epoch goes on.
        """
        self._seed.assign(seed)
        self._skip.assign(skip_steps)
        return iter(self._dataset)


def unpack(blocks: Blocks, layout: RecordLayout) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Names the columns of a batch's blocks.

    Returns:
        Model inputs by name, (n,) or (n, hotness), int32 or float32; the label, float32 (n,).
    """
    wide = {dtype: block if dtype == "float32" else tf.cast(block, tf.int32) for dtype, block in blocks.items()}
    columns = {}
    for column in layout.columns:
        block = wide[column.block]
        columns[column.name] = block[:, column.start] if column.width == 1 else block[:, column.start : column.start + column.width]
    return columns, tf.cast(columns.pop(LABEL), tf.float32)


def _file_table(records: Records, shards: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """The paths of the shards' files, (shards, most files), and how many there are of each, (shards,)."""
    paths = [records.paths(records.manifest.of_shard(shard)) for shard in shards]
    most = max(map(len, paths))
    table = [of_shard + [""] * (most - len(of_shard)) for of_shard in paths]
    return tf.reshape(tf.constant(table, tf.string), [len(paths), most]), tf.constant(
        [len(of_shard) for of_shard in paths], tf.int64
    )


def _stream(records: Records, files: tf.Tensor, rows: int, by_display: bool, seed: tf.Tensor | None) -> tf.data.Dataset:
    """Batches of `rows` rows of one shard, then empty ones without end."""
    if seed is not None:
        # Of this function's graph alone: the order must not depend on the program's seed.
        tf.random.set_seed(1)
        files = tf.random.experimental.stateless_shuffle(files, tf.stack([seed, 0]))
    dataset = tf.data.TFRecordDataset(files)
    if seed is not None:
        dataset = dataset.shuffle(SHUFFLE_RECORDS, seed=seed, reshuffle_each_iteration=False)

    def decode(index: tf.Tensor, serialized: tf.Tensor) -> tuple[Blocks, tf.Tensor]:
        blocks, sizes = decode_record(serialized, records.layout)
        return (blocks, sizes) if seed is None else _shuffle_displays(blocks, sizes, tf.stack([seed, 1 + index]))

    dataset = dataset.enumerate().map(decode)
    if by_display:
        together = _records_together(records, rows)
        if together > 1:
            dataset = dataset.ragged_batch(together).map(lambda blocks, sizes: (_flat(blocks), sizes.values))
        dataset = dataset.flat_map(lambda blocks, sizes: _cut_displays(blocks, sizes, rows if together == 1 else None))
    else:
        dataset = dataset.map(lambda blocks, sizes: blocks).rebatch(rows)
    return dataset.concatenate(tf.data.Dataset.from_tensors(_empty(records.layout, by_display)).repeat())


def decode_record(serialized: tf.Tensor, layout: RecordLayout) -> tuple[Blocks, tf.Tensor]:
    """Decodes one record in a graph.

    Returns:
        Matrices (n, columns) by dtype; rows of each display, int32 (d,).
    """
    raw = tf.io.decode_raw(serialized, tf.uint8)
    head = _as_type(raw[: HEADER.size], tf.int32)  # (7,)
    expected = tf.io.decode_raw(tf.constant(MAGIC + layout.fingerprint.to_bytes(8, "little")), tf.int32)  # (4,)
    tf.debugging.assert_equal(head[:4], expected, "not a record of this layout")
    rows, displays = head[4], head[5]
    sizes = _as_type(raw[HEADER.size : HEADER.size + 4 * displays], tf.int32)
    start = HEADER.size + 12 * displays
    blocks = {}
    for dtype, width in layout.widths.items():
        kind = tf.as_dtype(dtype)
        end = start + rows * width * kind.size
        blocks[dtype] = tf.reshape(_as_type(raw[start:end], kind), [rows, width])
        start = end
    return blocks, sizes


def _as_type(raw: tf.Tensor, kind: tf.DType) -> tf.Tensor:
    """Reads bytes (n * size,) as numbers (n,), without a copy."""
    return tf.bitcast(raw if kind.size == 1 else tf.reshape(raw, [-1, kind.size]), kind)


def _shuffle_displays(blocks: Blocks, sizes: tf.Tensor, seed: tf.Tensor) -> tuple[Blocks, tf.Tensor]:
    order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(sizes)), seed)
    ends = tf.cumsum(sizes)
    shuffled = tf.gather(sizes, order)
    # The rows of the display at place i, one after the other, for all i.
    offset = tf.gather(ends - sizes, order) - tf.cumsum(shuffled, exclusive=True)  # (d,)
    rows = tf.range(tf.reduce_sum(sizes)) + tf.repeat(offset, shuffled)  # (n,)
    return {dtype: tf.gather(block, rows) for dtype, block in blocks.items()}, shuffled


def _cut_displays(blocks: Blocks, sizes: tf.Tensor, rows: int | None) -> tf.data.Dataset:
    """Cuts rows into batches of `rows` rows, give or take a display, which is where it starts; None: cuts nothing."""
    total = tf.reduce_sum(sizes)
    starts = tf.cumsum(sizes, exclusive=True)  # (d,)
    display = tf.repeat(tf.range(tf.size(sizes)), sizes)  # (n,)
    if rows is None:
        return tf.data.Dataset.from_tensors((blocks, display))
    # Of records, n // rows batches however large their displays are: the number of steps follows from the manifest.
    count = -(-total // rows)
    first = tf.searchsorted(starts, tf.range(count + 1) * rows)  # (count + 1,)
    cuts = tf.gather(tf.concat([starts, [total]], 0), first)  # (count + 1,)

    def cut(i: tf.Tensor) -> tuple[Blocks, tf.Tensor]:
        part = slice(cuts[i], cuts[i + 1])
        return {dtype: block[part] for dtype, block in blocks.items()}, display[part] - first[i]

    return tf.data.Dataset.range(tf.cast(count, tf.int64)).map(cut)


def _join(blocks: Blocks, display: tf.RaggedTensor | None = None) -> Batch:
    """Makes one batch of the streams' parts, ragged (streams, None, columns) and (streams, None)."""
    if display is None:
        return Batch(_flat(blocks), tf.zeros((0,), tf.int32))
    displays = tf.reduce_max(display, axis=1) + 1  # (streams,); the smallest integer plus 1 of a part without rows
    before = tf.cumsum(tf.maximum(displays, 0), exclusive=True)
    return Batch(_flat(blocks), display.values + tf.repeat(before, display.row_lengths()))


def _flat(blocks: Blocks) -> Blocks:
    return {dtype: block.values for dtype, block in blocks.items()}


def _empty(layout: RecordLayout, by_display: bool) -> Blocks | tuple[Blocks, tf.Tensor]:
    blocks = {dtype: tf.zeros((0, width), tf.as_dtype(dtype)) for dtype, width in layout.widths.items()}
    return (blocks, tf.zeros((0,), tf.int32)) if by_display else blocks


def _records_together(records: Records, rows: int) -> int:
    """How many records make a stream's part of a batch, where it has room for more than one."""
    return max(1, round(rows / records.manifest.record_rows))


def _steps_of_shard(records: Records, shard: int, global_batch_size: int, by_display: bool) -> int:
    rows = global_batch_size // records.manifest.shards
    if not by_display:
        return math.ceil(records.rows_of_shards[shard] / rows)
    counts = [count for file in records.manifest.of_shard(shard) for count in file.rows]
    together = _records_together(records, rows)
    return math.ceil(len(counts) / together) if together > 1 else sum(math.ceil(count / rows) for count in counts)
