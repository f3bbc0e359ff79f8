"""The raw tables, as one dataset description in terms of roles.

Every other module speaks of roles: `Table.role` names a table, `Column.name` a column. How a log spells them on disk
(`Table.stem`, `Column.header`) is said here and nowhere else. `OUTBRAIN` is the format of the Outbrain click-prediction
competition: comma separated, one header line, no quoting, missing values empty or `\\N`.
"""

from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal["int32", "int64", "float32", "string", "timestamp"]

NULL_TOKENS = ("", "\\N")
SUFFIXES = (".csv", ".csv.gz", ".csv.zip")
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a raw table.

    Attributes:
        name: The role; what the code calls the column.
        type: How a cell is parsed. `timestamp` is `YYYY-MM-DD HH:MM:SS[.f]` in UTC; out-of-range dates are kept.
        nullable: Whether a missing cell is allowed. A missing cell elsewhere makes the row a bad row.
        minimum: Smallest allowed value of a number, inclusive; a smaller one makes the row a bad row.
        maximum: Largest allowed value of a number, inclusive.
        header: How the file's header spells the column; the role itself unless given.
    """

    name: str
    type: ColumnType
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    header: str = ""

    def __post_init__(self) -> None:
        if not self.header:
            object.__setattr__(self, "header", self.name)


@dataclass(frozen=True, slots=True)
class Table:
    """One raw table.

    Attributes:
        role: What the code calls the table.
        columns: The columns that are read; further columns of the file are ignored.
        required: Whether a run is impossible without the table. The features that need an absent optional table are missing.
        stem: The file's name without its suffix; the role itself unless given.
    """

    role: str
    columns: tuple[Column, ...]
    required: bool = False
    stem: str = ""

    def __post_init__(self) -> None:
        if not self.stem:
            object.__setattr__(self, "stem", self.role)

    def column(self, name: str) -> Column:
        """Returns the column of that role. Raises KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.role!r} has no column {name!r}")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A click log: its tables and its clock.

    Attributes:
        tables: All tables by role.
        epoch_ms: Unix time in ms of timestamp 0.
        days: Length of the log; a timestamp lies in [0, days * DAY_MS).
    """

    tables: tuple[Table, ...]
    epoch_ms: int
    days: int
    by_role: dict[str, Table] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_role", {table.role: table for table in self.tables})

    def table(self, role: str) -> Table:
        """Returns the table of that role. Raises KeyError if there is none."""
        return self.by_role[role]


def _id(name: str, type: ColumnType = "int32", nullable: bool = False) -> Column:
    return Column(name, type, nullable=nullable, minimum=0)


_LEAST_CONFIDENCE = 1e-9
"""A confidence is above 0: a document that is not about a thing does not list it."""


def _aspect(role: str, key: Column) -> Table:
    confidence = Column("confidence_level", "float32", minimum=_LEAST_CONFIDENCE, maximum=1.0)
    return Table(role, (_id("document_id"), key, confidence))


_LOG_DAYS = 15
_TIME = Column("timestamp", "int64", minimum=0, maximum=_LOG_DAYS * DAY_MS - 1)

OUTBRAIN = Dataset(
    tables=(
        Table("clicks_train", (_id("display_id"), _id("ad_id"), Column("clicked", "int32", minimum=0, maximum=1)), required=True),
        Table("clicks_test", (_id("display_id"), _id("ad_id"))),
        Table(
            "events",
            (
                _id("display_id"),
                Column("uuid", "string"),
                _id("document_id"),
                _TIME,
                Column("platform", "int32", nullable=True, minimum=1, maximum=3),
                Column("geo_location", "string", nullable=True),
            ),
            required=True,
        ),
        Table(
            "page_views",
            (
                Column("uuid", "string"),
                _id("document_id"),
                _TIME,
                Column("platform", "int32", nullable=True, minimum=1, maximum=3),
                Column("geo_location", "string", nullable=True),
                Column("traffic_source", "int32", nullable=True, minimum=1, maximum=3),
            ),
        ),
        Table("promoted_content", (_id("ad_id"), _id("document_id"), _id("campaign_id"), _id("advertiser_id")), required=True),
        Table(
            "documents_meta",
            (
                _id("document_id"),
                _id("source_id", nullable=True),
                _id("publisher_id", nullable=True),
                Column("publish_time", "timestamp", nullable=True),
            ),
        ),
        _aspect("documents_topics", _id("topic_id")),
        _aspect("documents_entities", Column("entity_id", "string")),
        _aspect("documents_categories", _id("category_id")),
    ),
    epoch_ms=1_465_876_799_998,
    days=_LOG_DAYS,
)
