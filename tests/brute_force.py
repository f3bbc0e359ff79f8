"""The feature table computed by brute force: the independent twin that feature engineering is compared with.

Plain Python over dictionaries, written from the definitions for reading and not for speed: every row scans all the history of its
group. Latent directions alone are NumPy's. Nothing is shared with transforms/ but the table of time zones. Logs must be small and
uncompressed.
"""

import contextlib
import csv
import datetime
import math
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas.config import FeaturesConfig, SplitConfig
from schemas.features import ASPECTS, CTR_GROUPS, FEATURES, Aspect, CtrGroup, columns
from schemas.tables import DAY_MS, NULL_TOKENS, OUTBRAIN, Column
from transforms.zones import zone_of

SPLIT = "_split"
TRAIN, EVAL, NEITHER = 0, 1, -1

Row = dict[str, Any]
_UNIX_START = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MS = datetime.timedelta(milliseconds=1)
_NOTHING_KNOWN: Row = defaultdict(lambda: None)


def features_of(folder: Path, config: FeaturesConfig, split: SplitConfig) -> list[Row]:
    """Returns all columns of every valid row of clicks_train, with its split as `_split`, by display_id and ad_id.

    A missing value is None. Of `split` only the days are understood. Every display must have distinct ads and one
    click: others are not recognised as bad.
    """
    log = Log(folder)
    rows = [base_row(log, click, split) for click in log.clicks]
    history = [row for row in rows if row[SPLIT] == TRAIN]
    ctr_groups = [(group, history_by_key(group, history, log)) for group in CTR_GROUPS]
    for row in rows:
        row |= display_features(log, row)
        row |= document_features(log, row, "event", row["doc_event_id"])
        row |= document_features(log, row, "ad", row["doc_id"])
        row |= user_features(log, row, config)
        row |= event_document_similarities(log, row)
        for group, by_key in ctr_groups:
            row |= ctr_features(log, row, group, by_key, config)
        row["popularity"] = popularity(row, history, config)
    rows.sort(key=lambda row: (row["display_id"], row["ad_id"]))
    absent = {feature.name for feature in FEATURES if not log.present.issuperset(feature.tables)}
    return [{name: None if name in absent else row[name] for name in (*columns(), SPLIT)} for row in rows]


# The log


class Log:
    """The tables by what they are looked up by.

    Attributes:
        present: Roles of the tables that exist.
        clicks: Rows of clicks_train whose display has an event.
        events: By display.
        ads: promoted_content by ad.
        documents: documents_meta by document.
        views: Page views by user.
        aspects: By the aspect's name.
        directions: Of length 1, by document; of topics and categories.
    """

    def __init__(self, folder: Path) -> None:
        tables = {table.role: read_table(folder, table.role) for table in OUTBRAIN.tables}
        self.present = {role for role, rows in tables.items() if rows is not None}
        self.events = first_by(tables["events"] or [], "display_id")
        self.ads = first_by(tables["promoted_content"] or [], "ad_id")
        self.documents = first_by(tables["documents_meta"] or [], "document_id")
        self.clicks = [click for click in tables["clicks_train"] or [] if click["display_id"] in self.events]
        self.views: dict[str, list[Row]] = defaultdict(list)
        for view in tables["page_views"] or []:
            self.views[view["uuid"]].append(view)
        self.aspects = {a.name: AspectTable(a, tables[a.table] or [], len(self.documents)) for a in ASPECTS}
        self.directions = latent_directions([self.aspects[name] for name in ("topic", "category")]) if self.documents else {}
        self.ads_per_display = Counter(click["display_id"] for click in self.clicks)


class AspectTable:
    """What documents are about.

    Attributes:
        of: The confidences by aspect, by document; of a repeated (document, aspect) the first counts.
        idf: ln(documents of documents_meta / documents with the aspect), by aspect; none without documents.
        vocabulary: Number of distinct aspects.
    """

    def __init__(self, aspect: Aspect, rows: Iterable[Row], documents: int) -> None:
        self.of: dict[int, dict[Any, float]] = defaultdict(dict)
        for row in rows:
            self.of[row["document_id"]].setdefault(row[aspect.id_column], row["confidence_level"])
        documents_with = Counter(x for confidences in self.of.values() for x in confidences)
        self.idf = {x: math.log(documents / df) for x, df in documents_with.items()} if documents else {}
        self.vocabulary = len(documents_with)

    def of_document(self, document: int | None) -> dict[Any, float]:
        """The confidences of a document's aspects; none of an unknown one."""
        return self.of.get(document, {}) if document is not None else {}

    def weighted(self, confidences: dict[Any, float]) -> dict[Any, float]:
        """idf times confidence, by aspect."""
        return {x: self.idf[x] * confidence for x, confidence in confidences.items()}


def read_table(folder: Path, role: str) -> list[Row] | None:
    """The valid rows of a table, cells by role; None if there is no such table."""
    table = OUTBRAIN.table(role)
    file = folder / f"{table.stem}.csv"
    if not file.exists():
        return None
    rows = []
    with file.open(encoding="utf-8", newline="") as lines:
        for cells in csv.DictReader(lines, quoting=csv.QUOTE_NONE):
            with contextlib.suppress(ValueError, TypeError, KeyError):  # a bad cell, too few cells
                rows.append({column.name: parse(cells[column.header], column) for column in table.columns})
    return rows


def parse(cell: str, column: Column) -> Any:
    """The value of a cell, None if missing. Raises ValueError if the cell is not allowed."""
    if cell in NULL_TOKENS:
        if not column.nullable:
            raise ValueError(f"{column.name} is missing")
        return None
    if column.type == "string":
        return cell
    if column.type == "timestamp":
        return in_ms(datetime.datetime.fromisoformat(cell).replace(tzinfo=datetime.UTC))
    value = as_float32(float(cell)) if column.type == "float32" else int(cell)
    if (column.minimum is not None and value < column.minimum) or (column.maximum is not None and value > column.maximum):
        raise ValueError(f"{column.name} is out of bounds: {value}")
    return value


def as_float32(value: float) -> float:
    """The nearest number of single precision: which confidences are equal depends on it."""
    return struct.unpack("f", struct.pack("f", value))[0]


def first_by(rows: Iterable[Row], name: str) -> dict[Any, Row]:
    """The rows by a column; of a repeated value the first row."""
    found: dict[Any, Row] = {}
    for row in rows:
        found.setdefault(row[name], row)
    return found


def in_ms(moment: datetime.datetime) -> int:
    """Unix time in ms."""
    return (moment - _UNIX_START) // _MS


# Keys and ids


def base_row(log: Log, click: Row, split: SplitConfig) -> Row:
    """Keys, ids that CTR groups are formed by, and the split."""
    event = log.events[click["display_id"]]
    ad = log.ads.get(click["ad_id"], _NOTHING_KNOWN)
    meta = log.documents.get(ad["document_id"], _NOTHING_KNOWN)
    place = (event["geo_location"] or "").strip()
    return {
        "display_id": click["display_id"],
        "uuid": event["uuid"],
        "timestamp": event["timestamp"],
        "ads_per_display": log.ads_per_display[click["display_id"]],
        "label": click["clicked"],
        "ad_id": click["ad_id"],
        "doc_id": ad["document_id"],
        "ad_campaign": ad["campaign_id"],
        "ad_advertiser": ad["advertiser_id"],
        "doc_ad_source_id": meta["source_id"],
        "doc_ad_publisher_id": meta["publisher_id"],
        "doc_event_id": event["document_id"],
        "event_geo_location": event["geo_location"],
        "event_country": place[:2] or None,
        "event_country_state": place[:5] or None,
        SPLIT: split_of(event["timestamp"], split),
    }


def split_of(timestamp: int, split: SplitConfig) -> int:
    """Eval days evaluate, days before the last of them train, later days do neither."""
    if split.eval_fraction or not split.eval_days:
        raise ValueError("the twin splits by day only")
    day = timestamp // DAY_MS
    if day in split.eval_days:
        return EVAL
    return NEITHER if day > max(split.eval_days) else TRAIN


# The display


def display_features(log: Log, row: Row) -> Row:
    """Platform, local time and traffic source."""
    event = log.events[row["display_id"]]
    hour = weekend = None
    if row["event_country_state"] is not None:
        local = event_time(row).astimezone(zone_of(row["event_country_state"]))
        hour, weekend = hour_bin(local.hour), int(local.isoweekday() in (6, 7))
    return {
        "event_platform": minus_one(event["platform"]),
        "event_hour": hour,
        "doc_event_hour": hour,
        "event_weekend": weekend,
        "traffic_source": traffic_source(log, event),
    }


def event_time(row: Row) -> datetime.datetime:
    """The display's moment, UTC."""
    return _UNIX_START + (OUTBRAIN.epoch_ms + row["timestamp"]) * _MS


def minus_one(code: int | None) -> int | None:
    """The log counts from 1, features from 0."""
    return None if code is None else code - 1


def hour_bin(hour: int) -> int:
    """5-7 -> 0, 8-10 -> 1, 11-13 -> 2, 14-18 -> 3, 19-21 -> 4, the night -> 5."""
    for code, hours in enumerate((range(5, 8), range(8, 11), range(11, 14), range(14, 19), range(19, 22))):
        if hour in hours:
            return code
    return 5


def traffic_source(log: Log, event: Row) -> int | None:
    """Of the latest view of the event's page by its user from its device and place, not after the event; the largest of several."""
    same = ("document_id", "platform", "geo_location")
    if any(event[name] is None for name in same):
        return None
    candidates = [
        (view["timestamp"], view["traffic_source"])
        for view in log.views.get(event["uuid"], [])
        if all(view[name] == event[name] for name in same)
        and view["timestamp"] <= event["timestamp"]
        and view["traffic_source"] is not None
    ]
    return minus_one(max(candidates)[1]) if candidates else None


# The two documents


def document_features(log: Log, row: Row, side: str, document: int | None) -> Row:
    """Source, publisher, age and strongest aspects of the event's or the ad's document."""
    meta = log.documents.get(document, _NOTHING_KNOWN)
    stem = f"doc_{side}"
    return {
        f"{stem}_source_id": meta["source_id"],
        f"{stem}_publisher_id": meta["publisher_id"],
        f"{stem}_days_since_published": days_since_published(row, meta["publish_time"]),
        **{f"{stem}_{a.name}_id": strongest(log.aspects[a.name].of_document(document), a.hotness) for a in ASPECTS},
    }


def days_since_published(row: Row, published_ms: int | None) -> int | None:
    """Whole days from publishing to the display, missing unless within 0 to 3650."""
    if published_ms is None:
        return None
    days = (in_ms(event_time(row)) - published_ms) // DAY_MS
    return days if 0 <= days <= 3650 else None


def strongest(confidences: dict[Any, float], most: int) -> list[Any] | None:
    """The aspects of highest confidence, ties by the smaller id; missing if there is none."""
    return sorted(confidences, key=lambda x: (-confidences[x], x))[:most] or None


# History


def horizon(row: Row, config: FeaturesConfig) -> float:
    """The row sees what happened strictly before this."""
    return math.inf if config.history == "all" else row["timestamp"] - config.delay_ms


def user_features(log: Log, row: Row, config: FeaturesConfig) -> Row:
    """Number of views of the user, whether the ad's document is among them, and how similar they are to it."""
    until = horizon(row, config)
    viewed = [view["document_id"] for view in log.views.get(row["uuid"], []) if view["timestamp"] < until]
    found: Row = {
        "user_views": len(viewed),
        "user_has_already_viewed_doc": None if row["doc_id"] is None else int(row["doc_id"] in viewed),
    }
    profile_direction = sum((log.directions[document] for document in viewed if document in log.directions), start=np.zeros(1))
    found["user_doc_ad_sim_latent"] = latent_cosine(profile_direction, log.directions.get(row["doc_id"]))
    for aspect in ASPECTS:
        table = log.aspects[aspect.name]
        profile: dict[Any, float] = defaultdict(float)
        for document in viewed:
            for x, confidence in table.of_document(document).items():
                profile[x] += confidence
        found |= similarity(f"user_doc_ad_sim_{aspect.plural}", table, profile, table.of_document(row["doc_id"]))
    return found


def event_document_similarities(log: Log, row: Row) -> Row:
    """How similar the event's document and the ad's are."""
    event_direction, ad_direction = (log.directions.get(row[name]) for name in ("doc_event_id", "doc_id"))
    found: Row = {"doc_event_doc_ad_sim_latent": latent_cosine(event_direction, ad_direction)}
    for aspect in ASPECTS:
        table = log.aspects[aspect.name]
        event, ad = table.of_document(row["doc_event_id"]), table.of_document(row["doc_id"])
        found |= similarity(f"doc_event_doc_ad_sim_{aspect.plural}", table, event, ad)
    return found


# Similarities


def similarity(stem: str, table: AspectTable, one: dict[Any, float], other: dict[Any, float]) -> Row:
    """The cosine of two sides' idf * confidence, its confidence and their product; missing if a side has no direction."""
    value = cosine(table.weighted(one), table.weighted(other)) if table.idf else None
    return with_confidence(stem, value, None if value is None else similarity_confidence(table, one, other))


def cosine(one: dict[Any, float], other: dict[Any, float]) -> float | None:
    """The cosine of two sparse vectors, exactly 0 without a common coordinate; None if one has length 0."""
    norms = length(one) * length(other)
    return sum(weight * other[x] for x, weight in one.items() if x in other) / norms if norms else None


def length(vector: dict[Any, float]) -> float:
    """The Euclidean norm."""
    return math.sqrt(sum(weight * weight for weight in vector.values()))


def similarity_confidence(table: AspectTable, one: dict[Any, float], other: dict[Any, float]) -> float:
    """1 - the probability that random aspects, as many on each side, coincide as these do."""
    common = len(set(one) & set(other))
    p, q = len(one) / table.vocabulary, len(other) / table.vocabulary
    return 1 - (p**common * q**common if common else 1 - p * q)


def with_confidence(stem: str, value: float | None, confidence: float | None) -> Row:
    """The three columns of a value, its confidence and their product."""
    product = None if value is None or confidence is None else value * confidence
    return {stem: value, f"{stem}_conf": confidence, f"{stem}_conf_multipl": product}


# Latent directions


def latent_directions(tables: Sequence[AspectTable], dimensions: int = 24) -> dict[int, np.ndarray]:
    """The documents by latent semantic analysis; a document that is orthogonal to all dimensions has no direction.

    Rows are the documents' idf * confidence, of length 1 by table, decomposed as U S V'; coordinates are U S, of length 1. All
    dimensions count that are as strong as number `dimensions`.
    """
    documents = sorted(set().union(*(table.of for table in tables)))
    if not documents:
        return {}
    blocks = []
    for table in tables:
        weighted = [table.weighted(table.of_document(document)) for document in documents]
        blocks.append([[one.get(x, 0.0) / (length(one) or 1.0) for x in table.idf] for one in weighted])
    left, strength, _ = np.linalg.svd(np.hstack(blocks), full_matrices=False)
    weakest = strength[min(dimensions, len(strength)) - 1]
    kept = (strength**2 > weakest**2 * (1 - 1e-6)) & (strength**2 > 1e-6 * strength[0] ** 2)
    found = zip(documents, left[:, kept] * strength[kept], strict=True)
    return {document: row / np.linalg.norm(row) for document, row in found if np.linalg.norm(row) > 1e-6}


def latent_cosine(one: np.ndarray | None, other: np.ndarray | None) -> float | None:
    """The cosine; None if a side has no direction."""
    if one is None or other is None or np.linalg.norm(one) < 1e-6:
        return None
    return float(np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


# Click-through rates


@dataclass(frozen=True)
class Past:
    """A row of the click log as a member of a CTR group; `confidence` is that of the group's aspect."""

    row: Row
    confidence: float


@dataclass(frozen=True)
class Counts:
    """What a row sees of a CTR group."""

    clicks: int
    views: int
    ads: int
    mean_confidence: float


Key = tuple[Any, ...]


def history_by_key(group: CtrGroup, history: Iterable[Row], log: Log) -> dict[Key, list[Past]]:
    """The rows of each of a group's keys; a row is in as many as its ad's document has aspects, in none if its key has a null."""
    by_key: dict[Key, list[Past]] = defaultdict(list)
    for row in history:
        for key, confidence in keys_of(log, row, group).items():
            by_key[key].append(Past(row, confidence))
    return by_key


def keys_of(log: Log, row: Row, group: CtrGroup) -> dict[Key, float]:
    """The keys of the row with the aspect's confidence, 1 for a group without aspect; none if a key column is null."""
    key = tuple(row[name] for name in group.key)
    if None in key:
        return {}
    if not group.aspect:
        return {key: 1.0}
    return {(*key, x): confidence for x, confidence in log.aspects[group.aspect].of_document(row["doc_id"]).items()}


def ctr_features(log: Log, row: Row, group: CtrGroup, by_key: dict[Key, list[Past]], config: FeaturesConfig) -> Row:
    """A group's CTR, its confidence, their product and the group's views."""
    threshold = config.ctr_min_views.get(group.feature, group.min_views)
    until = horizon(row, config)
    enough = []
    for key, confidence in keys_of(log, row, group).items():
        counts = count([past for past in by_key.get(key, []) if past.row["timestamp"] < until])
        if counts.views > threshold:
            enough.append((counts, confidence))
    combine = combined_over_aspects if group.aspect else single
    value, confidence = combine(enough, row, group, config) if enough else (None, None)
    found = with_confidence(group.feature, value, confidence)
    if group.views_feature:
        found[group.views_feature] = enough[0][0].views if enough else None
    return found


def count(members: Sequence[Past]) -> Counts:
    """Clicks, views, distinct ads and mean confidence of these."""
    views = len(members)
    return Counts(
        clicks=sum(past.row["label"] for past in members),
        views=views,
        ads=len({past.row["ad_id"] for past in members}),
        mean_confidence=sum(past.confidence for past in members) / views if views else math.nan,
    )


Found = Sequence[tuple[Counts, float]]


def single(found: Found, row: Row, group: CtrGroup, config: FeaturesConfig) -> tuple[float | None, float | None]:
    """CTR and confidence of the only group."""
    ((counts, _),) = found
    return smoothed(counts, row, config.ctr_prior_views), ctr_confidence(counts, group, config)


def combined_over_aspects(found: Found, row: Row, group: CtrGroup, config: FeaturesConfig) -> tuple[float | None, float | None]:
    """The mean CTR of the aspects, weighted by group confidence * mean confidence of the group * the document's confidence."""
    weights = [ctr_confidence(counts, group, config) * counts.mean_confidence * confidence for counts, confidence in found]
    if not sum(weights):  # confidences of 0 only
        return None, None
    rates = [smoothed(counts, row, config.ctr_prior_views) for counts, _ in found]
    return sum(rate * weight for rate, weight in zip(rates, weights, strict=True)) / sum(weights), max(weights)


def ctr_confidence(counts: Counts, group: CtrGroup, config: FeaturesConfig) -> float:
    """ln(1 + s) / log2(1 + C), 1 from s = C on, where s is the views, per ad if the group says so."""
    s = counts.views / counts.ads if group.per_ad else counts.views
    full = config.ctr_full_confidence_views
    return 1.0 if s >= full else math.log(1 + s) / math.log2(1 + full)


def smoothed(counts: Counts, row: Row, prior_views: float) -> float:
    """Clicks / views, with a prior of 1 / ads of the row's display that is worth that many views."""
    return (counts.clicks + prior_views / row["ads_per_display"]) / (counts.views + prior_views)


def popularity(row: Row, history: Iterable[Row], config: FeaturesConfig) -> float:
    """The smoothed CTR of the ad, never missing."""
    until = horizon(row, config)
    same_ad = [Past(r, 1.0) for r in history if r["ad_id"] == row["ad_id"] and r["timestamp"] < until]
    return smoothed(count(same_ad), row, config.popularity_prior_views)
