"""Finds the files of the raw tables and checks, before any work, that each can be read: present, not empty, headers complete.

A table is one file, or a folder of files.
"""

import glob
import warnings
from dataclasses import dataclass

from apache_beam.io.filesystems import FileSystems

from schemas.errors import InputDataError
from schemas.features import FEATURES
from schemas.tables import SUFFIXES, Dataset, Table
from transforms.text import open_text

_COMPRESSION = 5
"""How much larger CSV text is than its compressed file, roughly."""

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a raw table.

    Attributes:
        number: Its place among the files of its table, from 0.
        path: Where it is.
        name: How users know it: its path below the folder of the raw tables.
        size_bytes: Size of the file as it lies there, compressed or not.
        header: For each column of the file, in its order, the role of the column, or "" for one that is not read.
    """

    number: int
    path: str
    name: str
    size_bytes: int
    header: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the file is not compressed, so that a part of it can be read on its own."""
        return self.path.endswith(SUFFIXES[0])

    @property
    def text_bytes(self) -> int:
        """Size of its text; a rough guess where it is compressed."""
        return self.size_bytes * (1 if self.is_plain else _COMPRESSION)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows of one raw table are.

    Attributes:
        table: What it holds.
        files: At least one, in the order of their names.
    """

    table: Table
    files: tuple[File, ...]

    @property
    def text_bytes(self) -> int:
        """Size of its text; a rough guess where it is compressed."""
        return sum(file.text_bytes for file in self.files)


def find_sources(data: str, dataset: Dataset, *, need: tuple[str, ...] = ()) -> dict[str, Source]:
    """Returns role -> files for every table of `dataset` that the folder `data` holds.

    A table is a file of its stem, or a folder of that name with any number of files in it and in its sub-folders; each file has a
    header of its own. In such a folder, what begins with `.` or `_` is not the table's (Spark's `_SUCCESS`).

    Args:
        data: A folder, on any file system that Beam knows.
        dataset: The tables to look for.
        need: Roles that are required besides those the dataset says are. A required table has a row, too.

    Raises:
        InputDataError: The folder or a required table is absent, a table is there twice, its folder holds no or other files, a file
            is empty or unreadable, or a header lacks a column or has one twice.
    """
    sizes = _match(data, "*")
    folders = {table.stem: parts for table in dataset.tables if (parts := _list_parts(data, table)) is not None}
    if not sizes and not folders:
        raise InputDataError(f"{data}: no such folder, or an empty one")
    sources: dict[str, Source] = {}
    for table in dataset.tables:
        found = {name: {name: sizes[name]} for name in (table.stem + suffix for suffix in SUFFIXES) if name in sizes}
        if table.stem in folders:
            found[f"{table.stem}/"] = folders[table.stem]
        required = table.required or table.role in need
        if len(found) > 1:
            raise InputDataError(f"{data}: table {table.role} is there {len(found)} times: {', '.join(found)}; keep one")
        if found:
            sources[table.role] = _check_headers(data, table, *found.values(), required=required)
        elif required:
            raise InputDataError(
                f"{data}: required table {table.role} is missing; expected {_one_of(table.stem)}, or a folder of them"
            )
    return sources


def missing_features(sources: dict[str, Source]) -> dict[str, tuple[str, ...]]:
    """Returns role -> features that are missing because the table of that role is absent."""
    absent: dict[str, list[str]] = {}
    for feature in FEATURES:
        for role in feature.tables:
            if role not in sources:
                absent.setdefault(role, []).append(feature.name)
    return {role: tuple(names) for role, names in absent.items()}


def _list_parts(data: str, table: Table) -> dict[str, int] | None:
    """Returns name -> size of the files of a table's folder, by name, names as from `data`; None if there is no such folder."""
    folder = FileSystems.join(data, table.stem)
    sizes = _match(folder, "**")
    parts = {name: size for name, size in sizes.items() if not any(step.startswith((".", "_")) for step in name.split("/"))}
    for name in sorted(parts):
        if not name.endswith(SUFFIXES):
            raise InputDataError(f"{folder}: all files of table {table.role} must end in {_one_of('')}. Received: {name}")
    if not parts and (sizes or FileSystems.exists(folder)):
        raise InputDataError(f"{folder}: the folder of table {table.role} holds no file that ends in {_one_of('')}")
    return {f"{table.stem}/{name}": parts[name] for name in sorted(parts)} or None


def _match(folder: str, pattern: str) -> dict[str, int]:
    """Returns name -> size of the files in a folder, names as from there; `**` finds those of its sub-folders, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Beam turns an escaped "[" into a pattern that Python frowns at
            found = FileSystems.match([FileSystems.join(glob.escape(folder), pattern)])[0].metadata_list
    except Exception as error:
        raise InputDataError(f"{folder}: cannot be listed: {str(error).splitlines()[0]}") from error
    return {meta.path[len(FileSystems.join(folder, "")) :]: meta.size_in_bytes for meta in found}


def _one_of(stem: str) -> str:
    return " or ".join(stem + suffix for suffix in SUFFIXES)


def _check_headers(data: str, table: Table, sizes: dict[str, int], *, required: bool) -> Source:
    """Reads the header of each file, and looks for a row where one is required."""
    files, has_row = [], not required
    for number, (name, size) in enumerate(sizes.items()):
        path = FileSystems.join(data, name)
        header, any_row = _read_header(path, table)
        files.append(File(number, path, name, size, header))
        has_row |= any_row
    if not has_row:
        what = f"{files[0].path}: the file has" if len(files) == 1 else f"{FileSystems.join(data, table.stem)}: its files have"
        raise InputDataError(f"{what} a header but no row; table {table.role} is required")
    return Source(table, tuple(files))


def _read_header(path: str, table: Table) -> tuple[tuple[str, ...], bool]:
    """Returns the header of a file as in `File`, and whether anything follows it."""
    with open_text(path) as text:
        line = text.readline(1 << 16)
        any_row = bool(text.read(1))
    if not line.strip():
        raise InputDataError(f"{path}: the file is empty; expected a header line")
    names = line.removeprefix(_BOM).decode("utf-8", "replace").strip("\r\n").split(",")
    names = [name.strip().strip('"') for name in names]
    roles = {column.header: column.name for column in table.columns}
    for header in roles:
        if names.count(header) != 1:
            what = "lacks" if header not in names else "repeats"
            raise InputDataError(f"{path} line 1: the header {what} column {header!r}. Received: {','.join(names)[:200]}")
    return tuple(roles.get(name, "") for name in names), any_row
