"""The layout of prebatched records: what Prebatch writes and the Trainer reads, derived from the feature table.

A record is the transformed rows of whole displays as raw column bytes, little-endian, in one TFRecord (whose framing has a CRC-32C
of everything):

    header      HEADER: magic, fingerprint of the layout, rows n, displays d, CRC-32 of what follows in the header and of the sizes
    sizes       int32 (d,), rows of each display, in the order of the rows
    display_id  int64 (d,)
    blocks      for each dtype of `DTYPES` that has columns, a matrix (n, columns of that dtype), row after row

A few matrices instead of one array a column: cutting and joining batches then costs a few copies, not dozens.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from schemas.features import Feature

Block = Literal["int32", "float32", "int16", "int8"]

DTYPES: tuple[Block, ...] = ("int32", "float32", "int16", "int8")
"""The blocks of a record, in their order."""

LABEL = "label"
MAGIC = b"clickrk1"
HEADER = struct.Struct("<8sQIII")
MANIFEST = "manifest.json"
"""In the folder of each split; see `components.prebatch.manifest`."""


class RecordError(ValueError):
    """Bytes that are no record of the layout."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's place: columns `start` to `start + width` of the block `block`."""

    name: str
    block: Block
    start: int
    width: int


@dataclass(frozen=True)
class RecordLayout:
    """Where each column is. The fingerprint changes whenever bytes would be read as something else."""

    columns: tuple[Column, ...]
    buckets: tuple[int, ...]

    @cached_property
    def widths(self) -> dict[Block, int]:
        """Columns of each block that has any."""
        totals = {dtype: sum(c.width for c in self.columns if c.block == dtype) for dtype in DTYPES}
        return {dtype: total for dtype, total in totals.items() if total}

    @cached_property
    def fingerprint(self) -> int:
        """64 bits of a digest of names, types, places and buckets."""
        text = repr([(c.name, c.block, c.start, c.width, n) for c, n in zip(self.columns, self.buckets, strict=True)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in all blocks."""
        return sum(np.dtype(dtype).itemsize * width for dtype, width in self.widths.items())

    def record_bytes(self, rows: int, displays: int) -> int:
        """Bytes of a record."""
        return HEADER.size + 12 * displays + rows * self.row_bytes

    def pack(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Returns columns, (n,) or (n, width) each, as the bytes of n rows, uint8 (n, row_bytes): one block after the other.

        Raises:
            RecordError: A value does not fit its type; then the layout is not that of the columns' Transform.
        """
        parts = []
        for dtype in self.widths:
            block = []
            for column in (c for c in self.columns if c.block == dtype):
                values = columns[column.name]
                narrow = values.astype(dtype).reshape(len(values), column.width)
                if dtype != "float32" and not np.array_equal(narrow.ravel(), values.ravel()):
                    raise RecordError(f"column {column.name}: a value does not fit {dtype}. Received: {values.max()}")
                block.append(narrow)
            parts.append(np.ascontiguousarray(np.concatenate(block, axis=1)).view(np.uint8))
        return np.concatenate(parts, axis=1)

    def encode(self, rows: np.ndarray, sizes: np.ndarray, display_ids: np.ndarray) -> bytes:
        """Returns one record.

        Args:
            rows: What `pack` gave, uint8 (n, row_bytes), the rows of a display side by side.
            sizes: int (d,), rows of each display; their sum is n.
            display_ids: int (d,).
        """
        if sizes.sum() != len(rows):
            raise RecordError(f"the displays have {sizes.sum()} rows. Received: {len(rows)}")
        small = sizes.astype("<i4").tobytes()
        checksum = zlib.crc32(small, zlib.crc32(struct.pack("<QII", self.fingerprint, len(rows), len(sizes))))
        parts = [HEADER.pack(MAGIC, self.fingerprint, len(rows), len(sizes), checksum), small, display_ids.astype("<i8").tobytes()]
        start = 0
        for dtype, width in self.widths.items():
            end = start + np.dtype(dtype).itemsize * width
            parts.append(np.ascontiguousarray(rows[:, start:end]).tobytes())
            start = end
        return b"".join(parts)

    def decode(self, record: bytes | memoryview) -> "Record":
        """Reads what `encode` wrote, without a copy.

        Raises:
            RecordError: It is no record, one of another layout, or cut short.
        """
        if len(record) < HEADER.size:
            raise RecordError(f"{len(record)} bytes are no record")
        magic, fingerprint, rows, displays, checksum = HEADER.unpack_from(record)
        if magic != MAGIC:
            raise RecordError("not a prebatched record")
        sizes = record[HEADER.size : HEADER.size + 4 * displays]
        if checksum != zlib.crc32(sizes, zlib.crc32(record[8 : HEADER.size - 4])):
            raise RecordError("the checksum of the header is wrong")
        if fingerprint != self.fingerprint:
            raise RecordError("the record has another layout: the features or their encoding are not those it was written with")
        if len(record) != self.record_bytes(rows, displays):
            raise RecordError(f"a record of {rows} rows and {displays} displays cannot have {len(record)} bytes")
        start = HEADER.size + 12 * displays
        blocks = {}
        for dtype, width in self.widths.items():
            blocks[dtype] = np.frombuffer(record, dtype, rows * width, start).reshape(rows, width)
            start += blocks[dtype].nbytes
        return Record(
            self,
            blocks,
            np.frombuffer(record, "<i4", displays, HEADER.size),
            np.frombuffer(record, "<i8", displays, HEADER.size + 4 * displays),
        )


@dataclass(frozen=True)
class Record:
    """A decoded record; its arrays are views of the bytes.

    Attributes:
        layout: Of the blocks.
        blocks: The matrix (n, columns) of each dtype, in the record's narrow types.
        sizes: int32 (d,), rows of each display.
        display_ids: int64 (d,).
    """

    layout: RecordLayout
    blocks: dict[Block, np.ndarray]
    sizes: np.ndarray
    display_ids: np.ndarray

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, (n,) or (n, width)."""
        found = {}
        for column in self.layout.columns:
            values = self.blocks[column.block][:, column.start : column.start + column.width]
            found[column.name] = values[:, 0] if column.width == 1 else values
        return found


def record_layout(inputs: Sequence[Feature]) -> RecordLayout:
    """Returns the layout for model inputs (`features.model_inputs`) and the label.

    Numbers stay float32. Buckets, indicators and the label take the narrowest type that holds them and `MISSING_ID`.
    """
    chosen: list[tuple[str, Block, int, int]] = [
        (f.name, "float32" if f.kind == "numeric" else _narrowest(f.buckets), f.hotness if f.kind == "ids" else 1, f.buckets)
        for f in inputs
    ]
    chosen.append((LABEL, "int8", 1, 2))
    columns, buckets = [], []
    for dtype in DTYPES:
        start = 0
        for name, block, width, count in chosen:
            if block == dtype:
                columns.append(Column(name, block, start, width))
                buckets.append(count)
                start += width
    return RecordLayout(tuple(columns), tuple(buckets))


def _narrowest(buckets: int) -> Block:
    """The type for -1 to buckets - 1."""
    fitting: Iterable[Block] = ("int8", "int16")
    return next((dtype for dtype in fitting if buckets - 1 <= np.iinfo(dtype).max), "int32")
