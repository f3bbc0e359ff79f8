"""Stable hashing and scattering of Arrow tables, and their form in a Beam shuffle."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
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
        numbers: (n,) int64.
    """
    if not len(numbers):
        return
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    rows = rows.take(pa.array(order))
    cuts = np.flatnonzero(np.diff(ordered)) + 1
    for start, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(ordered)], strict=True):
        yield int(ordered[start]), rows.slice(start, end - start)


def to_bytes(rows: pa.Table) -> bytes:
    """Packs a table for a shuffle (Arrow IPC stream, LZ4)."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def from_bytes(packed: bytes) -> pa.Table:
    """Unpacks a table packed by `to_bytes`."""
    with pa.ipc.open_stream(packed) as reader:
        return reader.read_all()
