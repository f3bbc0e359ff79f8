"""Ways in which a raw table goes bad on its way here."""

import random
from pathlib import Path

from schemas.tables import OUTBRAIN
from tests.tables import DAY, write_bytes, write_table

DISPLAYS = 800
READ_TABLES = ("clicks_train", "events", "promoted_content", "documents_meta")
"""The tables of which the pipeline reads more than the header."""


def rows_of(role: str) -> list[tuple[object, ...]]:
    """Rows of a log of 15 days that does not compress well, so that a cut or a flipped byte hits data."""
    draw = random.Random(role)
    if role == "clicks_train":
        return [(d, ad, int(ad == d % 3)) for d in range(DISPLAYS) for ad in range(3)]
    if role == "events":
        return [
            (d, f"{draw.getrandbits(56):014x}", d % 50, d * 15 * DAY // DISPLAYS, 1 + d % 3, "US>CA>803") for d in range(DISPLAYS)
        ]
    count = 4000
    if role == "promoted_content":
        return [(ad, draw.randrange(50), draw.getrandbits(30), draw.getrandbits(30)) for ad in range(count)]
    return [(d, draw.getrandbits(30), draw.getrandbits(30), "2016-06-01 00:00:00") for d in range(count)]


def write_big_log(folder: Path) -> Path:
    for role in READ_TABLES:
        write_table(folder, role, rows_of(role))
    return folder


def compress(folder: Path, role: str, suffix: str) -> Path:
    """Puts the compressed table in the place of the plain one; returns it."""
    plain = folder / f"{OUTBRAIN.table(role).stem}.csv"
    data = plain.read_bytes()
    plain.unlink()
    return write_bytes(folder / f"{OUTBRAIN.table(role).stem}{suffix}", data)


def cut(file: Path, keep: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])


def flip(file: Path, at: int) -> None:
    """Inverts one byte; a negative `at` counts from the end."""
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(data)
