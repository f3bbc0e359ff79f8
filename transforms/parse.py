"""Parses CSV blocks into typed Arrow tables and sorts out the bad rows, each with its line and reason."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from schemas.errors import InputDataError
from schemas.tables import NULL_TOKENS, Column, Table

LINE = "_line"
"""Column that every parsed table carries besides its own: the number of the row's line in the table (`LINES_PER_FILE`), int64."""

LINES_PER_FILE = 1 << 40
"""Lines are numbered through a table: line n of its file i (from 0, by name) has the number i * LINES_PER_FILE + n."""

_ARROW = {"int32": pa.int32(), "int64": pa.int64(), "float32": pa.float32(), "string": pa.string(), "timestamp": pa.timestamp("ms")}
_SHOWN_CHARS = 120
_HOPELESS_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Reject:
    """A bad row: the number of its line in the table (`LINES_PER_FILE`), and what is wrong with it.

    `text` is its start, escaped, or "" where the row is not at hand.
    """

    table: str
    line: int
    reason: str
    text: str = ""


def arrow_type(column: Column) -> pa.DataType:
    """The Arrow type of a raw column."""
    return _ARROW[column.type]


def empty_table(table: Table) -> pa.Table:
    """A parsed table without rows."""
    fields = [(c.name, arrow_type(c)) for c in table.columns]
    return pa.schema([*fields, (LINE, pa.int64())]).empty_table()


def parse(data: bytes, table: Table, header: tuple[str, ...], first_line: int, path: str) -> tuple[pa.Table, list[Reject]]:
    """Parses whole lines.

    Args:
        data: Lines of the file, without the header.
        table: What they are.
        header: Roles of the file's columns in order; "" for one that is not read.
        first_line: Number of the first line in the table.
        path: The file, for messages.

    Returns:
        The good rows, with the columns of `table` and `LINE`, in file order; and the bad rows.

    Raises:
        InputDataError: More than `_HOPELESS_ROWS` rows and a twentieth of the block are bad: a wrong file, not a few bad rows.
    """
    rejects: list[Reject] = []
    tables: list[pa.Table] = []
    pending = [(data, first_line)]
    while pending:
        lines, line = pending.pop()
        if not lines:
            continue
        parsed = _parse_all(lines, table, header)
        if parsed is not None:
            parsed = parsed.append_column(LINE, pa.array(np.arange(line, line + parsed.num_rows)))
            good, bad = _check_values(parsed, table)
            tables.append(good)
            rejects += bad
        elif (middle := _line_start_near_middle(lines)) > 0:
            pending += [(lines[middle:], line + lines.count(b"\n", 0, middle)), (lines[:middle], line)]
        else:
            rejects.append(Reject(table.role, line, _diagnose(lines, table, header), _shown(lines)))
        if len(rejects) > _HOPELESS_ROWS and len(rejects) > data.count(b"\n") // 20:
            first = min(rejects, key=lambda reject: reject.line)
            line = first.line % LINES_PER_FILE
            raise InputDataError(f"{path} line {line}: {first.reason}; and {len(rejects) - 1} more bad rows close by")
    return pa.concat_tables(tables) if tables else empty_table(table), rejects


def _line_start_near_middle(lines: bytes) -> int:
    """Where to cut lines in two; 0 if there is only one."""
    after = lines.find(b"\n", len(lines) // 2) + 1
    return after if 0 < after < len(lines) else lines.rfind(b"\n", 0, len(lines) // 2) + 1


def _parse_all(lines: bytes, table: Table, header: tuple[str, ...]) -> pa.Table | None:
    """Parses lines of which none is malformed; None if one is."""
    names = [role or f"_unread_{i}" for i, role in enumerate(header)]
    roles = [column.name for column in table.columns]
    try:
        parsed = csv.read_csv(
            pa.BufferReader(lines),
            read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=len(lines) + 1),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types={c.name: arrow_type(c) for c in table.columns},
                include_columns=roles,
                null_values=list(NULL_TOKENS),
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    # A stray carriage return ends a row for the parser but not a line of the file: then line numbers would be off.
    expected = lines.count(b"\n") + (not lines.endswith(b"\n"))
    return parsed if parsed.num_rows == expected else None


def _check_values(rows: pa.Table, table: Table) -> tuple[pa.Table, list[Reject]]:
    good = np.ones(rows.num_rows, bool)
    rejects = []
    for column in table.columns:
        values = rows[column.name]
        checks: list[tuple[pa.ChunkedArray, str | None]] = []
        if not column.nullable and values.null_count:
            checks.append((pc.is_null(values), None))
        if (column.minimum is not None or column.maximum is not None) and not _all_inside(values, column):
            checks.append((_outside(values, column), _range(column)))
        for mask, reason in checks:
            for i in np.flatnonzero(mask.to_numpy(zero_copy_only=False) & good).tolist():
                what = f"{column.name} is empty" if reason is None else f"{column.name} {values[i].as_py()} {reason}"
                rejects.append(Reject(table.role, rows[LINE][i].as_py(), what))
                good[i] = False
    return (rows if good.all() else rows.filter(pa.array(good))), rejects


def _all_inside(values: pa.ChunkedArray, column: Column) -> bool:
    """Whether no number is outside, told in one pass; not told of floats, of which some may be no number."""
    if not pa.types.is_integer(values.type):
        return False
    least, most = pc.min_max(values).as_py().values()
    if least is None:
        return True
    return (column.minimum is None or least >= column.minimum) and (column.maximum is None or most <= column.maximum)


def _outside(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    inside = pa.scalar(True)
    if column.minimum is not None:
        inside = pc.and_(inside, pc.greater_equal(values, pa.scalar(column.minimum).cast(values.type)))
    if column.maximum is not None:
        inside = pc.and_(inside, pc.less_equal(values, pa.scalar(column.maximum).cast(values.type)))
    return pc.fill_null(pc.invert(inside), False)  # NaN compares false, hence is outside


def _range(column: Column) -> str:
    if column.maximum is None:
        return f"is below {column.minimum:g}"
    return f"is outside [{column.minimum:.12g}, {column.maximum:.12g}]"


def _diagnose(line: bytes, table: Table, header: tuple[str, ...]) -> str:
    """Says what is wrong with one line that does not parse."""
    cells = line.rstrip(b"\r\n").split(b",")
    if b"\r" in line.rstrip(b"\r\n"):
        return "stray carriage return"
    if len(cells) != len(header):
        return f"expected {len(header)} columns, found {len(cells)}"
    for role, cell in zip(header, cells, strict=True):
        if role and _parse_all(cell + b",\n", Table(table.role, (table.column(role),)), (role, "")) is None:
            return f"{role} is not of type {table.column(role).type}: {_shown(cell)!r}"
    return "cannot be parsed"


def _shown(line: bytes) -> str:
    return line[:_SHOWN_CHARS].decode("utf-8", "backslashreplace").rstrip("\r\n")
