"""The tables small enough for every worker to hold: ads and documents, by id."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems

from transforms.blocks import cut
from transforms.parse import LINE, Reject, empty_table, parse
from transforms.sources import Source


class Dimension:
    """Rows looked up by a unique integer id.

    Args:
        rows: A table with unique non-null ids.
        key: Name of the id's column.
    """

    def __init__(self, rows: pa.Table, key: str):
        self._rows = rows.take(pc.sort_indices(rows, [(key, "ascending")])).combine_chunks()
        self._ids = self._rows[key].to_numpy()

    def look_up(self, ids: pa.Array, name: str) -> pa.Array:
        """Returns the column `name` for each of the (n,) integer `ids`; null where the id is null, unknown, or has no value."""
        column = self._rows[name]
        if not len(self._ids):
            return pa.nulls(len(ids), column.type)
        wanted = pc.fill_null(ids, -1).to_numpy(zero_copy_only=False)
        at = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        return _flat(column.take(pa.array(at, mask=self._ids[at] != wanted)))


def load_table(source: Source, block_bytes: int) -> tuple[pa.Table, list[Reject]]:
    """Reads a whole small table in this process; returns its rows as `parse` does, and the bad rows."""
    tables, rejects = [empty_table(source.table)], []
    for block in cut(source, block_bytes):
        rows, bad = parse(block.read(), source.table, source.header, block.first_line, source.path)
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
    codes = {key: _codes(rows[key]) for key in keys}
    order = np.lexsort([rows[LINE].to_numpy(), *(codes[key] for key in reversed(keys))])
    ordered = [codes[key][order] for key in keys]
    repeated = np.zeros(rows.num_rows, bool)
    if rows.num_rows:
        repeated[order[1:]] = np.logical_and.reduce([column[1:] == column[:-1] for column in ordered])
    if not repeated.any():
        return rows, []
    bad = rows.filter(pa.array(repeated)).select([*keys, LINE]).to_pylist()
    rejects = [Reject(table, row[LINE], "repeats " + " ".join(f"{key} {row[key]}" for key in keys)) for row in bad]
    return rows.filter(pa.array(~repeated)), rejects


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
