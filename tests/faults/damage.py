"""Ways in which a raw table goes bad on its way here."""

import random
from pathlib import Path

from schemas.tables import OUTBRAIN
from tests.tables import DAY, write_bytes, write_table

DISPLAYS = 800
DOCUMENTS = 4000
SPACING = 15 * DAY // DISPLAYS
SMALL_TABLES = ("promoted_content", "documents_meta", "documents_topics", "documents_entities", "documents_categories")
"""The tables that are read before Beam starts."""
READ_TABLES = ("clicks_train", "events", "page_views", *SMALL_TABLES)
"""The tables of which the pipeline reads more than the header."""


def rows_of(role: str) -> list[tuple[object, ...]]:
    """Rows of a log of 15 days that does not compress well, so that a cut or a flipped byte hits data."""
    draw = random.Random(role)
    match role:
        case "clicks_train":
            return [(d, ad, int(ad == d % 3)) for d in range(DISPLAYS) for ad in range(3)]
        case "events":
            return [(d, f"{draw.getrandbits(56):014x}", d % 50, d * SPACING, 1 + d % 3, "US>CA>803") for d in range(DISPLAYS)]
        case "page_views":
            users = [event[1] for event in rows_of("events")]
            return [(draw.choice(users), draw.randrange(50), draw.randrange(15 * DAY), 1, "US>CA>803", 1) for _ in range(DOCUMENTS)]
        case "promoted_content":
            return [(ad, draw.randrange(50), draw.getrandbits(30), draw.getrandbits(30)) for ad in range(DOCUMENTS)]
        case "documents_meta":
            return [(d, draw.getrandbits(30), draw.getrandbits(30), "2016-06-01 00:00:00") for d in range(DOCUMENTS)]
        case "documents_entities":
            return [(d, f"{draw.getrandbits(128):032x}", draw.uniform(0.1, 0.9)) for d in range(DOCUMENTS)]
        case _:
            return [(d, draw.getrandbits(30), draw.uniform(0.1, 0.9)) for d in range(DOCUMENTS)]


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
