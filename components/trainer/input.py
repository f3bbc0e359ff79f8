"""Prebatched records on disk -> batches.

The shards of a split are streams of rows, each in an order of its own that the epoch's seed determines. A global batch takes the
same number of rows from every stream. A replica reads the streams whose number is its own modulo the number of replicas, hence no
file of another's, and yet a step trains on the same rows with any number of replicas. A stream that has ended gives no more rows,
so that the last steps of an epoch may be short; every row is seen exactly once an epoch, and all replicas take the same number of
steps. The position in an epoch is its number of steps: to read on from there, records before it are not even read.

A thread of its own reads ahead of the training. A row is read, goes into its record's checksum, and is copied to its place in the
batch: nothing else is done to it, and that to whole records and batches at a time.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, repeat
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.prebatch.manifest import Manifest, read_manifest
from components.prebatch.record_file import Place, check_size, places, read_record, read_records
from components.trainer.buffers import Buffers, as_tensor
from schemas.errors import ConfigError
from schemas.records import LABEL, Block, Record, RecordLayout

AHEAD = 2
"""Batches, and far records of each stream, that are read before they are asked for."""

Blocks = dict[Block, tf.Tensor]
S = TypeVar("S")
T = TypeVar("T")


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

    @cached_property
    def rows_of_shards(self) -> tuple[int, ...]:
        """Rows of each shard."""
        return tuple(sum(sum(file.rows) for file in self.manifest.of_shard(s)) for s in range(self.manifest.shards))

    def read(self) -> Iterator[Record]:
        """Reads all records, in the order of the files; see `read_record`."""
        return chain.from_iterable(read_records(self.folder, file, self.layout) for file in self.manifest.files)

    def places(self, shard: int) -> list[Place]:
        """Where the records of a shard are."""
        return [place for file in self.manifest.of_shard(shard) for place in places(self.folder, file, self.layout)]


def open_records(split: str, folder: str, layout: RecordLayout) -> Records:
    """Opens the records of a split.

    Raises:
        InputDataError: There are none, or one of their files is missing or not as long as it should be.
        ConfigError: They were written with another layout.
    """
    manifest = read_manifest(folder, split)
    if manifest.fingerprint != layout.fingerprint:
        raise ConfigError(f"{folder}: written for other features or another encoding than the model's; run Prebatch again")
    for file in manifest.files:
        check_size(folder, file, layout)
    return Records(split, folder, manifest, layout)


def steps_per_epoch(records: Records, global_batch_size: int) -> int:
    """Returns the number of steps, the same for all replicas."""
    return math.ceil(max(records.rows_of_shards) / (global_batch_size // records.manifest.shards))


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
        by_display: Whether to cut between displays only; a display is then in the batch in which its first row would be, and a
            global batch has `global_batch_size` rows on average.
        shuffle: Whether epochs have an order of their own; otherwise it is that of the files.

    Raises:
        ConfigError: See `check_batching`. Reading raises InputDataError for a damaged or foreign file.
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
        self.steps_per_epoch = steps_per_epoch(records, global_batch_size)
        self._layout, self._by_display, self._shuffle = records.layout, by_display, shuffle
        self._rows = global_batch_size // records.manifest.shards
        self._shards = {shard: records.places(shard) for shard in range(replica, records.manifest.shards, replicas)}

    def epoch(self, seed: int = 0, skip_steps: int = 0) -> Iterator[Batch]:
        """Yields the batches of one epoch.

        Args:
            seed: Determines the order, the same for all replicas.
            skip_steps: Steps to leave out at the start: where an interrupted epoch goes on.
        """
        with ThreadPoolExecutor(1) as worker:
            batches = self._batches(seed, skip_steps)
            pending = deque(worker.submit(next, batches, None) for _ in range(AHEAD))
            while (batch := pending.popleft().result()) is not None:
                pending.append(worker.submit(next, batches, None))
                yield batch

    def _batches(self, seed: int, skip_steps: int) -> Iterator[Batch]:
        buffers = {dtype: Buffers(dtype, width) for dtype, width in self._layout.widths.items()}
        with ThreadPoolExecutor(len(self._shards)) as readers:
            streams = [self._stream(readers, shard, seed, skip_steps * self._rows) for shard in self._shards]
            for parts in islice(zip(*streams, strict=True), self.steps_per_epoch - skip_steps):
                yield _join(list(chain.from_iterable(parts)), buffers, self._by_display)

    def _stream(self, readers: Executor, shard: int, seed: int, begin: int) -> Iterator["_Part"]:
        """The parts of a shard from row `begin` of the epoch's order on, then empty ones without end."""
        of_shard = self._shards[shard]
        order = np.arange(len(of_shard))
        if self._shuffle:
            order = np.random.default_rng([seed, shard]).permutation(order)
        starts = np.cumsum([0] + [of_shard[i].rows for i in order]).tolist()  # (records + 1,)
        buffers: list[npt.NDArray[np.uint8]] = []

        def load(number: int) -> _Ordered:
            place = of_shard[order[number]]
            buffer = buffers.pop() if buffers else np.empty(longest, np.uint8)
            record = read_record(place, self._layout, buffer)
            rng = np.random.default_rng([seed, shard, number]) if self._shuffle else None
            return _Ordered(record, starts[number], buffer, rng)

        longest = max((place.frame_bytes for place in of_shard), default=0)
        numbers = range(bisect_right(starts, begin) - 1, len(order))
        # What is in the machine's memory is best read when it is needed; what is far away, ahead of that.
        is_local = all(place.is_local for place in of_shard)
        loaded = map(load, numbers) if is_local else _ahead(readers, load, numbers)
        return chain(_cut(loaded, begin, self._rows, self._by_display, buffers.append), repeat(()))


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


class _Ordered:
    """A record and the order of its displays, that of the file or drawn from `rng`.

    Attributes:
        start: Number of its first row in the stream.
        buffer: Where its bytes are.
    """

    def __init__(self, record: Record, start: int, buffer: npt.NDArray[np.uint8], rng: np.random.Generator | None):
        self.record, self.start, self.buffer = record, start, buffer
        sizes = record.sizes
        order = np.arange(len(sizes)) if rng is None else rng.permutation(len(sizes))
        self.sizes = sizes[order]
        self.starts = np.r_[0, np.cumsum(self.sizes)]  # (d + 1,)
        # The rows of the display at place i, one after the other, for all i.
        offsets = (np.cumsum(sizes) - sizes)[order] - self.starts[:-1]  # (d,)
        self.rows = np.arange(self.starts[-1]) + np.repeat(offsets, self.sizes)  # (n,)

    @property
    def end(self) -> int:
        """Number of the row behind its last one in the stream."""
        return self.start + len(self.rows)

    def boundary(self, row: int, by_display: bool) -> int:
        """The place, 0 to n, at which to cut for a batch that should begin at row `row` of the stream."""
        within = min(max(row - self.start, 0), len(self.rows))
        return int(self.starts[np.searchsorted(self.starts, within)]) if by_display else within

    def piece(self, start: int, end: int) -> "_Piece":
        """What is at the places `start` to `end`."""
        first, last = np.searchsorted(self.starts, (start, end))
        return _Piece(self.record, self.rows[start:end], self.sizes[first:last])


class _Piece(NamedTuple):
    """Rows of a record.

    Attributes:
        record: The record.
        rows: Their numbers in it, int64 (n,).
        sizes: int32 (d,), rows of each of their displays; only of use if they are whole.
    """

    record: Record
    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]


_Part = Iterable[_Piece]
"""What a stream gives to one batch."""


def _cut(
    records: Iterable[_Ordered], begin: int, rows: int, by_display: bool, release: Callable[[npt.NDArray[np.uint8]], None]
) -> Iterator[_Part]:
    """Cuts a stream into parts of `rows` rows, give or take a display.

    Args:
        records: From the one on in which row `begin` of the stream is.
        begin: The row at which the first part begins.
        rows: Rows of a part.
        by_display: Whether to cut between displays only.
        release: Is given the buffer of a record whose last part has been taken.
    """
    pieces: list[_Piece] = []
    done: list[_Ordered] = []
    for ordered in records:
        start = ordered.boundary(begin, by_display)
        while begin + rows <= ordered.end:
            end = ordered.boundary(begin + rows, by_display)
            yield [*pieces, ordered.piece(start, end)]
            while done:
                release(done.pop().buffer)
            pieces, start, begin = [], end, begin + rows
        pieces.append(ordered.piece(start, len(ordered.rows)))
        done.append(ordered)
    yield pieces


def _join(pieces: Sequence[_Piece], buffers: Mapping[Block, Buffers], by_display: bool) -> Batch:
    """Makes one batch of pieces."""
    ends = np.cumsum([0] + [len(piece.rows) for piece in pieces]).tolist()
    blocks = {}
    with tf.device("CPU"):
        for dtype, of_dtype in buffers.items():
            block = of_dtype.take(ends[-1])
            for piece, start, end in zip(pieces, ends, ends[1:], strict=False):
                # The rows are in range; only with that said, `take` writes to its place without a copy.
                np.take(piece.record.blocks[dtype], piece.rows, axis=0, out=block[start:end], mode="clip")
            blocks[dtype] = as_tensor(block)
        sizes = np.concatenate([np.zeros(0, np.int32), *(piece.sizes for piece in pieces)]) if by_display else ()
        return Batch(blocks, tf.constant(np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)))


def _ahead(pool: Executor, function: Callable[[S], T], arguments: Iterable[S]) -> Iterator[T]:
    """Maps, in order, with `AHEAD` calls made before they are asked for."""
    calls = iter(arguments)
    pending = deque(pool.submit(function, argument) for argument in islice(calls, AHEAD))
    while pending:
        result = pending.popleft().result()
        pending.extend(pool.submit(function, argument) for argument in islice(calls, 1))
        yield result
