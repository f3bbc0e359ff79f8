"""Reads the CSV text of plain and compressed files, and never takes a damaged file for a short one."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from schemas.errors import InputDataError


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
