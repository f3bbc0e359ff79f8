"""What a page is made of: figures with the table behind them, tables, notes, in sections. And how numbers are written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.content import Estimate

NONE = "–"
"""In the place of a number that is not there."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of each row is its header.

    Attributes:
        caption: What it shows.
        columns: Titles.
        rows: Of as many cells as there are columns.
        numeric: Indices of columns of numbers.
        marked: Indices of rows that stand out; their text must say why.
        folded: Whether it is shown only when asked for.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()
    folded: bool = False
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot and the table behind it; several figures side by side share one, which follows them.

    Attributes:
        key: Its id on the page.
        title: Its heading.
        label: What is to be seen, for who does not see it.
        spec: Vega-Lite's.
        table: The same in numbers.
    """

    key: str
    title: str
    label: str
    spec: dict[str, Any]
    table: Table | None
    kind: str = "figure"


@dataclass(frozen=True, slots=True)
class Row:
    """Small figures side by side, where there is room."""

    figures: tuple[Figure, ...]
    kind: str = "row"


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph."""

    text: str
    kind: str = "note"


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and its value."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A link of the lineage."""

    title: str
    facts: tuple[Fact, ...]
    is_there: bool = True


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps, each made of those before it."""

    steps: tuple[Step, ...]
    kind: str = "chain"


Block = Table | Figure | Row | Note | Chain
Blocks = list[Block]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; `absent` says why it has no blocks."""

    key: str
    title: str
    lead: str
    blocks: tuple[Block, ...] = ()
    absent: str = ""


def number(value: float | None, digits: int = 4) -> str:
    """Writes a number with as many decimals."""
    return NONE if value is None else f"{value:,.{digits}f}"


def short(value: float | None) -> str:
    """Writes a number of any size with four significant digits."""
    return NONE if value is None else f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3g}"


def signed(value: float | None, digits: int = 4) -> str:
    """Writes a difference; its minus is a minus, not a hyphen."""
    return NONE if value is None else f"{value:+.{digits}f}".replace("-", "−")


def count(value: float | None) -> str:
    """Writes a whole number."""
    return NONE if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Writes a share."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def interval(estimate: Estimate | None, is_difference: bool = False) -> str:
    """Writes the bounds of an interval."""
    if estimate is None or estimate.lower is None or estimate.upper is None:
        return NONE
    write = signed if is_difference else number
    return f"{write(estimate.lower)} to {write(estimate.upper)}"


def duration(seconds: float | None) -> str:
    """Writes a time: 0.3 s, 47 s, 2 min 18 s, 3 h 5 min."""
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(value: float | None) -> str:
    """Writes bytes."""
    if value is None:
        return NONE
    for unit, bytes_ in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= bytes_:
            return f"{value / bytes_:.1f} {unit}"
    return f"{value:.0f} B"


def moment(seconds: float | None) -> str:
    """Writes a time of the day, in UTC."""
    return NONE if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def columns_from(first: int, table_columns: Sequence[str]) -> frozenset[int]:
    """The indices of all columns from one on."""
    return frozenset(range(first, len(table_columns)))
