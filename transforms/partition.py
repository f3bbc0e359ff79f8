"""Stable hashing and scattering of Arrow tables, and their form in a Beam shuffle."""

import uuid
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_INLINE_BYTES = 1 << 16

Parcel = bytes | str
"""A packed table, or the path of the file that holds it; see `ship`."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def mix(ids: np.ndarray) -> np.ndarray:
    """Hashes integers to uint64, the same on every machine and in every run (the finaliser of SplitMix64).

    Args:
        ids: (n,) integers.

    Returns:
        (n,) uint64.
    """
    x = ids.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * _MIX[0]
    x = (x ^ (x >> np.uint64(27))) * _MIX[1]
    return x ^ (x >> np.uint64(31))


def fraction(ids: np.ndarray) -> np.ndarray:
    """Maps integers to [0, 1), (n,) float64: uniform over ids, fixed for each id."""
    return (mix(ids) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def partition_of(ids: np.ndarray, partitions: int) -> np.ndarray:
    """Maps integers to partition numbers, (n,) int64 in [0, partitions)."""
    return (mix(ids) % np.uint64(partitions)).astype(np.int64)


def scatter(rows: pa.Table, numbers: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """Yields (number, the rows with that number), numbers ascending, rows in their order.

    Args:
        rows: n rows.
        numbers: (n,) non-negative integers.
    """
    if not len(numbers):
        return
    if (numbers == numbers[0]).all():
        yield int(numbers[0]), rows
        return
    # numpy sorts short integers stably by radix, long ones by merging.
    order = np.argsort(numbers.astype(np.uint16) if numbers.max() < 1 << 16 else numbers, kind="stable")
    ordered = numbers[order]
    rows = rows.take(pa.array(order))
    cuts = np.flatnonzero(np.diff(ordered)) + 1
    for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(ordered)], strict=True):
        yield int(ordered[start]), rows.slice(start, end - start)


def ship(rows: pa.Table, folder: str) -> Parcel:
    """Packs a table for a shuffle: small ones as bytes, larger ones as the path of a file that holds those bytes.

    Shuffles of local runners live in memory; through files, what is in flight does not add up there. All workers must reach the
    folder. A file that a failed attempt left behind is never named to anybody.
    """
    packed = _pack(rows)
    if len(packed) <= _INLINE_BYTES:
        return packed.to_pybytes()
    path = FileSystems.join(folder, f"{uuid.uuid4().hex}.arrows")
    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(packed)
    return path


def receive(parcel: Parcel) -> pa.Table:
    """Unpacks what `ship` packed."""
    if isinstance(parcel, str):
        with FileSystems.open(parcel, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            parcel = file.read()
    with pa.ipc.open_stream(parcel) as reader:
        return reader.read_all()


def _pack(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as writer:
        writer.write_table(rows)
    return sink.getvalue()
