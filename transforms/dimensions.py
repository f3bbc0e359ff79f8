"""The tables small enough for every worker to hold: ads and documents, by id."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems

from transforms.blocks import cut, parse_block
from transforms.parse import LINE, Reject, empty_table
from transforms.sources import Source

_DENSE, _DENSE_LEAST = 32, 1 << 20
_ID_BITS = 32
"""Ids are below 2 to this."""


class IdIndex:
    """Finds the place of integer ids in an ascending array of distinct ones.

    By a table over all ids up to the largest where that is not much longer than the array (Outbrain's ids are dense), as random
    look-ups in it cost a tenth of a binary search; else by binary search.
    """

    def __init__(self, ids: np.ndarray):
        self._ids = ids
        self._table: np.ndarray | None = None
        if len(ids) and ids[0] >= 0 and ids[-1] <= _DENSE * len(ids) + _DENSE_LEAST:
            self._table = np.full(int(ids[-1]) + 2, -1, np.int32)
            self._table[ids] = np.arange(len(ids), dtype=np.int32)

    def places(self, wanted: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Returns the place of each id, (n,) int64; -1 where it is null or not there."""
        if not len(self._ids):
            return np.full(len(wanted), -1)
        ids = _flat(pc.fill_null(wanted, -1)).to_numpy(zero_copy_only=False)
        if self._table is not None:
            last = len(self._table) - 1  # no id: stands for all that the table does not reach
            return self._table[np.where((ids < 0) | (ids > last), last, ids)].astype(np.int64)
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return np.where(self._ids[at] == ids, at, -1)


class Dimension:
    """Rows looked up by a unique integer id.

    Args:
        rows: A table with unique non-null ids.
        key: Name of the id's column.
    """

    def __init__(self, rows: pa.Table, key: str):
        self._rows = rows.take(pc.sort_indices(rows, [(key, "ascending")])).combine_chunks()
        self._index = IdIndex(self._rows[key].to_numpy())

    def look_up(self, ids: pa.Array, name: str) -> pa.Array:
        """Returns the column `name` for each of the (n,) integer `ids`; null where the id is null, unknown, or has no value."""
        at = self._index.places(ids)
        return _flat(self._rows[name].take(pa.array(at, mask=at < 0)))


def load_table(source: Source, block_bytes: int) -> tuple[pa.Table, list[Reject]]:
    """Reads a whole small table in this process; returns its rows as `parse` does, and the bad rows."""
    tables, rejects = [empty_table(source.table)], []
    for block in cut(source, block_bytes):
        rows, bad = parse_block(block, source.table)
        tables.append(rows)
        rejects += bad
    return pa.concat_tables(tables), rejects


def drop_repeated(rows: pa.Table, keys: tuple[str, ...], table: str) -> tuple[pa.Table, list[Reject]]:
    """Keeps the first row in file order of each key; the others are bad rows.

    Args:
        rows: A table with `LINE`.
        keys: Its columns that together must be unique.
        table: Role of the table, for the rejects.
    """
    codes = [_codes(rows[key]) for key in keys]
    if not _repeats(codes):
        return rows, []
    order = np.lexsort([rows[LINE].to_numpy(), *reversed(codes)])
    ordered = [column[order] for column in codes]
    repeated = np.zeros(rows.num_rows, bool)
    repeated[order[1:]] = np.logical_and.reduce([column[1:] == column[:-1] for column in ordered])
    bad = rows.filter(pa.array(repeated)).select([*keys, LINE]).to_pylist()
    rejects = [Reject(table, row[LINE], "repeats " + " ".join(f"{key} {row[key]}" for key in keys)) for row in bad]
    return rows.filter(pa.array(~repeated)), rejects


def _repeats(codes: list[np.ndarray]) -> bool:
    """Whether any row equals another in all columns, of non-negative integers below 2^31, of which there are at most two."""
    packed = codes[0].astype(np.int64)
    for column in codes[1:]:
        packed = (packed << _ID_BITS) + column
    packed.sort()  # takes a tenth of what the order of several columns does, and most tables repeat nothing
    return bool((packed[1:] == packed[:-1]).any())


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_integer(column.type):
        return column.to_numpy()
    return column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)


def save(rows: pa.Table, path: str) -> None:
    """Writes a table for the workers to load."""
    with FileSystems.create(path) as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows)


def load(path: str) -> pa.Table:
    """Reads a table written by `save`."""
    with FileSystems.open(path) as file:
        return pa.ipc.open_file(pa.BufferReader(file.read())).read_all()


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
