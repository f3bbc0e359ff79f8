"""Writes small raw tables for tests."""

import gzip
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.tables import OUTBRAIN

DAY = 86_400_000


def write_table(folder: Path, role: str, rows: Iterable[Sequence[object]], suffix: str = ".csv", header: str | None = None) -> Path:
    """Writes one table in the format of the log; None is a missing cell. Returns the file."""
    table = OUTBRAIN.table(role)
    lines = [header or ",".join(c.header for c in table.columns)]
    lines += [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    return write_bytes(folder / f"{table.stem}{suffix}", ("\n".join(lines) + "\n").encode())


def write_part(folder: Path, role: str, part: str, rows: Iterable[Sequence[object]], *, reverse: bool = False) -> Path:
    """Writes one file of a table that is a folder of files, its columns in reverse order if asked. Returns the file."""
    table = OUTBRAIN.table(role)
    lines = [[c.header for c in table.columns], *(["" if cell is None else str(cell) for cell in row] for row in rows)]
    text = "".join(",".join(reversed(cells) if reverse else cells) + "\n" for cells in lines)
    return write_bytes(folder / table.stem / part, text.encode())


def read_rows(folder: Path, role: str) -> list[list[str]]:
    """The cells of a table in one plain file, without its header."""
    return [line.split(",") for line in (folder / f"{OUTBRAIN.table(role).stem}.csv").read_text().splitlines()[1:]]


def write_bytes(path: Path, data: bytes) -> Path:
    """Writes CSV bytes, compressed as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(data))
    elif path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.name.removesuffix(".zip"), data)
    else:
        path.write_bytes(data)
    return path


CLICKS = [(1, 10, 1), (1, 11, 0), (2, 10, 0), (2, 12, 1), (3, 10, 1), (3, 11, 0), (3, 12, 0)]
EVENTS = [
    (1, "cb8c55702adb93", 100, 1000, 1, "US>CA>803"),
    (2, "79a85fa78311b9", 100, 2000, 2, "GB>A8"),
    (3, "cb8c55702adb93", 101, 11 * DAY + 5, 3, None),
]
ADS = [(10, 200, 5, 7), (11, 201, 5, 7), (12, 200, 6, 8)]
DOCUMENTS = [
    (100, 1, 50, "2016-06-01 00:00:00"),
    (101, 2, None, None),
    (200, 3, 51, "2015-06-14 00:00:00"),
    (201, None, None, "2030-01-01 00:00:00"),
]


def write_log(folder: Path, suffix: str = ".csv", documents: bool = True) -> Path:
    """Writes a log of three displays: two on day 0, one on day 11."""
    write_table(folder, "clicks_train", CLICKS, suffix)
    write_table(folder, "events", EVENTS, suffix)
    write_table(folder, "promoted_content", ADS, suffix)
    if documents:
        write_table(folder, "documents_meta", DOCUMENTS, suffix)
    return folder
