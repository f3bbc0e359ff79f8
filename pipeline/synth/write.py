"""The nine files, in the format of the competition: one header line, commas, no quotes, missing values empty or `\\N`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipeline.synth.aspects import Aspects, Rows
from pipeline.synth.clicks import Clicks
from pipeline.synth.displays import Displays
from pipeline.synth.documents import MISSING
from pipeline.synth.page_views import PageViews
from pipeline.synth.world import World
from schemas.tables import NULL_TOKENS, OUTBRAIN

_CHUNK = 1_000_000


@dataclass(frozen=True, slots=True)
class Log:
    """Everything that is written."""

    world: World
    aspects: Aspects
    displays: Displays
    clicks: Clicks
    page_views: PageViews


def write(folder: Path, log: Log, done: Callable[[str], None]) -> dict[str, int]:
    """Writes all tables into `folder`, which must exist; calls `done` with the role of each.

    Returns the rows of each table by role.
    """
    writer = _Writer(log)
    counts = {}
    for table in OUTBRAIN.tables:
        rows, cells = writer.tables[table.role]
        with open(folder / f"{table.stem}.csv", "wb") as file:
            # Arrow would put the header into quotes.
            file.write((",".join(column.header for column in table.columns) + "\n").encode())
            options = csv.WriteOptions(include_header=False, quoting_style="none", batch_size=65_536)
            for start in range(0, rows, _CHUNK):
                part = cells(slice(start, min(start + _CHUNK, rows)))
                # Indexing by role keeps the columns in the description's order and fails if one is missing.
                csv.write_csv(pa.table({column.name: part[column.name] for column in table.columns}), file, options)
        counts[table.role] = rows
        done(table.role)
    return counts


class _Writer:
    """The tables as cells. `tables` gives by role the number of rows and what makes the cells of a slice of rows by column role."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.document_ids = log.world.documents.ids
        self.listed = np.flatnonzero(log.world.documents.listed)
        self.uuids = _text(log.world.users.uuids)
        # Index 0 is the missing platform, see displays.MISSING_PLATFORM.
        self.platforms = pa.array([NULL_TOKENS[1], "1", "2", "3"])
        self.locations = pa.array(log.world.locations)
        self.entities = _text(log.aspects.entity_ids)
        of = log.aspects
        rows = len(log.displays.ad)
        labelled = int(log.displays.sizes[: log.displays.labelled].sum())
        self.tables: dict[str, tuple[int, Callable[[slice], dict[str, pa.Array]]]] = {
            "clicks_train": (labelled, self.clicks_train),
            "clicks_test": (rows - labelled, lambda piece: self.shown(slice(labelled + piece.start, labelled + piece.stop))),
            "events": (len(log.displays.user), self.events),
            "page_views": (len(log.page_views.user), self.page_views),
            "promoted_content": (len(log.world.ads.ids), self.promoted_content),
            "documents_meta": (len(self.listed), self.documents_meta),
            "documents_topics": (len(of.topics.document), lambda piece: self.aspect("topic_id", of.topics, piece)),
            "documents_categories": (len(of.categories.document), lambda piece: self.aspect("category_id", of.categories, piece)),
            "documents_entities": (len(of.entities.document), lambda piece: self.aspect("entity_id", of.entities, piece)),
        }

    def clicks_train(self, piece: slice) -> dict[str, pa.Array]:
        return {**self.shown(piece), "clicked": _ints(self.log.clicks.clicked[piece].astype(np.int8))}

    def shown(self, piece: slice) -> dict[str, pa.Array]:
        displays = self.log.displays
        return {
            "display_id": _ints(1 + displays.display[piece]),
            "ad_id": _ints(self.log.world.ads.ids[displays.ad[piece]]),
        }

    def events(self, piece: slice) -> dict[str, pa.Array]:
        return {"display_id": _ints(np.arange(1 + piece.start, 1 + piece.stop)), **self.visits(self.log.displays, piece)}

    def page_views(self, piece: slice) -> dict[str, pa.Array]:
        views = self.log.page_views
        return {**self.visits(views, piece), "traffic_source": _ints(views.traffic_source[piece])}

    def visits(self, visits: Displays | PageViews, piece: slice) -> dict[str, pa.Array]:
        return {
            "uuid": self.uuids.take(pa.array(visits.user[piece])),
            "document_id": _ints(self.document_ids[visits.document[piece]]),
            "timestamp": _ints(visits.timestamp[piece]),
            "platform": self.platforms.take(pa.array(visits.platform[piece])),
            "geo_location": self.locations.take(pa.array(visits.location[piece])),
        }

    def promoted_content(self, piece: slice) -> dict[str, pa.Array]:
        ads = self.log.world.ads
        return {
            "ad_id": _ints(ads.ids[piece]),
            "document_id": _ints(self.document_ids[ads.document[piece]]),
            "campaign_id": _ints(ads.campaign_ids[ads.campaign[piece]]),
            "advertiser_id": _ints(ads.advertiser_ids[ads.advertiser[piece]]),
        }

    def documents_meta(self, piece: slice) -> dict[str, pa.Array]:
        documents, rows = self.log.world.documents, self.listed[piece]
        return {
            "document_id": _ints(documents.ids[rows]),
            "source_id": _ints(documents.source[rows], documents.source[rows] == MISSING),
            "publisher_id": _ints(documents.publisher[rows], documents.publisher[rows] == MISSING),
            "publish_time": pa.array(documents.published[rows], pa.timestamp("s"), mask=~documents.has_published[rows]),
        }

    def aspect(self, key: str, rows: Rows, piece: slice) -> dict[str, pa.Array]:
        aspect = rows.aspect[piece]
        return {
            "document_id": _ints(self.document_ids[rows.document[piece]]),
            key: self.entities.take(pa.array(aspect)) if key == "entity_id" else _ints(aspect),
            "confidence_level": pa.array(rows.confidence[piece]),
        }


def _ints(values: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    return pa.array(values, mask=missing)


def _text(values: np.ndarray) -> pa.Array:
    """An S array as an Arrow string array, without a Python object per value."""
    offsets = np.arange(len(values) + 1, dtype=np.int64) * values.dtype.itemsize
    return pa.LargeStringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(values)))
