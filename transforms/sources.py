"""Finds the files of the raw tables and checks, before any work, that each can be read: present, not empty, headers complete."""

import glob
import gzip
import hashlib
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from schemas.errors import InputDataError
from schemas.features import FEATURES
from schemas.tables import SUFFIXES, Dataset, Table

_FINGERPRINT_BYTES = 1 << 16
_COMPRESSION = 5
"""How much larger CSV text is than its compressed file, roughly."""

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Source:
    """The file of one raw table.

    Attributes:
        table: What it holds.
        path: Where it is.
        size_bytes: Size of the file as it lies there, compressed or not.
        header: For each column of the file, in its order, the role of the column, or "" for one that is not read.
    """

    table: Table
    path: str
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


def find_sources(data: str, dataset: Dataset, *, need: tuple[str, ...] = ()) -> dict[str, Source]:
    """Returns role -> file for every table of `dataset` that the folder `data` holds.

    Args:
        data: A folder, on any file system that Beam knows.
        dataset: The tables to look for.
        need: Roles that are required besides those the dataset says are. A required table has a row, too.

    Raises:
        InputDataError: The folder or a required table is absent, a table is there twice, a file is empty or unreadable, or a
            header lacks a column or has one twice.
    """
    sizes = _list(data)
    sources: dict[str, Source] = {}
    for table in dataset.tables:
        names = [name for name in (table.stem + suffix for suffix in SUFFIXES) if name in sizes]
        if len(names) > 1:
            raise InputDataError(f"{data}: table {table.role} is there {len(names)} times: {', '.join(names)}; keep one")
        if names:
            path = FileSystems.join(data, names[0])
            header = _read_header(path, table, rows=table.required or table.role in need)
            sources[table.role] = Source(table, path, sizes[names[0]], header)
        elif table.required or table.role in need:
            raise InputDataError(f"{data}: required table {table.role} is missing; expected {_one_of(table.stem)}")
    return sources


def missing_features(sources: dict[str, Source]) -> dict[str, tuple[str, ...]]:
    """Returns role -> features that are missing because the table of that role is absent."""
    absent: dict[str, list[str]] = {}
    for feature in FEATURES:
        for role in feature.tables:
            if role not in sources:
                absent.setdefault(role, []).append(feature.name)
    return {role: tuple(names) for role, names in absent.items()}


def fingerprint(sources: dict[str, Source]) -> str:
    """Returns a digest that changes when a table's name, size, first or last 64 KiB change (not its time stamp).

    Reading all of a 100 GB table to see whether it changed would cost as much as using it; a log that is rewritten in its middle
    to the same length is not noticed.
    """
    digest = hashlib.sha256()
    for role in sorted(sources):
        source = sources[role]
        digest.update(f"{role}\0{source.path.rsplit('/', 1)[-1]}\0{source.size_bytes}\0".encode())
        with FileSystems.open(source.path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            digest.update(file.read(_FINGERPRINT_BYTES))
            if source.size_bytes > _FINGERPRINT_BYTES:
                file.seek(max(_FINGERPRINT_BYTES, source.size_bytes - _FINGERPRINT_BYTES))
                digest.update(file.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()


@contextmanager
def open_text(path: str) -> Iterator[IO[bytes]]:
    """Opens the CSV bytes of a plain, gzip or zip file for sequential reading.

    Raises:
        InputDataError: On any sign that the file is cut short or damaged, at once or while it is read; names the byte offset.
    """
    raw = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    try:
        if path.endswith(".gz"):
            yield cast(IO[bytes], gzip.GzipFile(fileobj=raw))
        elif path.endswith(".zip"):
            with zipfile.ZipFile(raw) as archive:
                members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
                if len(members) != 1:
                    raise InputDataError(f"{path}: expected one file in the archive. Received: {len(members)}")
                with _open_member(archive, members[0], path) as member:
                    yield member
        else:
            yield raw
    except (EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputDataError(f"{path}: damaged or cut short near byte {_offset(raw)}: {error}") from error
    finally:
        raw.close()


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except RuntimeError as error:  # encrypted, or packed by a method that Python lacks
        raise InputDataError(f"{path}: cannot be unpacked: {str(error)[:200]}") from error


def _offset(raw: Any) -> int:
    try:
        return raw.tell()
    except (OSError, ValueError):
        return -1


def _list(data: str) -> dict[str, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Beam turns an escaped "[" into a pattern that Python frowns at
            found = FileSystems.match([FileSystems.join(glob.escape(data), "*")])[0].metadata_list
    except Exception as error:
        raise InputDataError(f"{data}: cannot be listed: {str(error).splitlines()[0]}") from error
    if not found:
        raise InputDataError(f"{data}: no such folder, or an empty one")
    return {meta.path.rsplit("/", 1)[-1]: meta.size_in_bytes for meta in found}


def _one_of(stem: str) -> str:
    return " or ".join(stem + suffix for suffix in SUFFIXES)


def _read_header(path: str, table: Table, *, rows: bool) -> tuple[str, ...]:
    with open_text(path) as text:
        line = text.readline(1 << 16)
        empty = rows and not text.read(1)
    if not line.strip():
        raise InputDataError(f"{path}: the file is empty; expected a header line")
    names = line.removeprefix(_BOM).decode("utf-8", "replace").strip("\r\n").split(",")
    names = [name.strip().strip('"') for name in names]
    roles = {column.header: column.name for column in table.columns}
    for header in roles:
        if names.count(header) != 1:
            what = "lacks" if header not in names else "repeats"
            raise InputDataError(f"{path} line 1: the header {what} column {header!r}. Received: {','.join(names)[:200]}")
    if empty:
        raise InputDataError(f"{path}: the file has a header but no row; table {table.role} is required")
    return tuple(roles.get(name, "") for name in names)
