"""What a user viewed before a display: counts, profiles against the ad's document, and how the user came to the page."""

import binascii
import itertools
from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from schemas.features import ASPECTS, USER_LATENT
from transforms.aspects import DocumentAspects, ranges
from transforms.latent import DocumentVectors, profile_cosines
from transforms.partition import mix
from transforms.similarity import similarities, similarity_columns
from transforms.wanted import with_confidence

NO_VIEWS = pa.schema(
    {
        "user": pa.int64(),
        "document_id": pa.int64(),
        "timestamp": pa.int64(),
        "platform": pa.int64(),
        "geo_location": pa.string(),
        "traffic_source": pa.int64(),
    }
).empty_table()
"""Page views as `answer_requests` wants them, but none."""

TRAFFIC_ONLY = ("platform", "geo_location", "traffic_source")
"""Columns of page views that only `traffic_source` comes from."""

_UUID_CHARS = 14
_UPPER_CASE = 6
"""The digits A to F."""
_MAX_PAIRS = 4_000_000
"""Pairs of display and earlier view that are held at a time."""
_TIME_BITS, _DOCUMENT_BITS = 40, 32
"""Times and document ids are below 2 to these; a user's place is above."""


def user_number(uuid: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Maps users to integers, (n,) int64: 14 hexadecimal digits to their value, any other string to a 64-bit hash."""
    if isinstance(uuid, pa.ChunkedArray):
        uuid = uuid.combine_chunks()
    numbers = _hex_numbers(uuid)
    if numbers is not None:
        return numbers
    encoded = uuid.dictionary_encode()
    texts = encoded.dictionary
    numbers = np.empty(len(texts), np.int64)
    is_hex = pc.match_substring_regex(texts, r"^[0-9a-f]{14}$").to_numpy(zero_copy_only=False)
    if is_hex.any():
        numbers[is_hex] = _hex_numbers(texts.filter(pa.array(is_hex)))
    other = np.array(texts.filter(pa.array(~is_hex)).to_pylist(), object)
    numbers[~is_hex] = (pd.util.hash_array(other) | np.uint64(1 << 63)).view(np.int64)  # apart from what 14 digits can reach
    return numbers[encoded.indices.to_numpy(zero_copy_only=False)]


def _hex_numbers(texts: pa.StringArray) -> np.ndarray | None:
    """The values of strings that are 14 lower-case hexadecimal digits each; None if any is not, or there are none."""
    if not len(texts):
        return None
    _, offsets, characters = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if (np.diff(ends) != _UUID_CHARS).any():
        return None
    digits = memoryview(characters)[ends[0] : ends[-1]]
    if (np.frombuffer(digits, np.uint8) - np.uint8(ord("A")) < _UPPER_CASE).any():
        return None
    try:
        seven = binascii.unhexlify(digits)
    except binascii.Error:
        return None
    # Each number is the eight bytes that end where its seven do, less the first of them.
    eight = np.ndarray((len(texts),), ">u8", b"\0" + seven, strides=(_UUID_CHARS // 2,))
    return (eight & np.uint64((1 << 4 * _UUID_CHARS) - 1)).view(np.int64)


def answer_requests(
    requests: pa.Table,
    views: pa.Table,
    aspects: dict[str, DocumentAspects],
    vectors: DocumentVectors | None,
    delay_ms: int,
    see_all: bool,
    wanted: Collection[str],
) -> pa.Table:
    """Computes the features of some users' rows.

    Args:
        requests: One row an ad shown: `home`, `row` (where the answer goes), `user`, `display_id`, `timestamp`, `doc_event_id`,
            `doc_id`, `event_platform`, `event_geo_location`.
        views: All page views of these users: `user`, `document_id`, `timestamp`, `platform`, `geo_location`, `traffic_source`.
        aspects: By aspect name; an absent one gives no columns.
        vectors: Latent directions of documents; None gives no column.
        delay_ms: How much later than it happens a page view becomes known.
        see_all: Whether a row sees all views of the user, also later ones.
        wanted: The columns to compute. Without `traffic_source`, views need not have `TRAFFIC_ONLY`, nor requests the event's.

    Returns:
        `home`, `row`, and where wanted `traffic_source`, `user_views`, `user_has_already_viewed_doc`, and for each aspect the
        similarity of the user's views and the ad's document, its `_conf` and `_conf_multipl`, and the latent one.
    """
    history = _History(views)
    _, first, display_of = np.unique(requests["display_id"].to_numpy(), return_index=True, return_inverse=True)
    user = requests["user"].to_numpy()[first]
    timestamp = requests["timestamp"].to_numpy()[first]
    start, end = history.range_before(user, None if see_all else timestamp - delay_ms)  # (displays,)
    columns: dict[str, pa.Array] = {"home": requests["home"], "row": requests["row"]}
    if "traffic_source" in wanted:
        columns["traffic_source"] = history.traffic_source(requests.take(pa.array(first))).take(pa.array(display_of))
    columns["user_views"] = pa.array((end - start)[display_of])

    document = requests["doc_id"]
    if "user_has_already_viewed_doc" in wanted:
        seen = history.first_view(requests["user"].to_numpy(), pc.fill_null(document, -1).to_numpy())
        limit = np.iinfo(np.int64).max if see_all else requests["timestamp"].to_numpy() - delay_ms
        columns["user_has_already_viewed_doc"] = pa.array((seen < limit).astype(np.int64), mask=document.is_null().to_numpy())
    for aspect in ASPECTS:
        stem = f"user_doc_ad_sim_{aspect.plural}"
        if aspect.name in aspects and not set(wanted).isdisjoint(with_confidence(stem)):
            parts = _profile_similarities(history, start, end, display_of, document, aspects[aspect.name])
            columns |= similarity_columns(stem, *parts)
    if vectors is not None and USER_LATENT in wanted:
        viewed = vectors.places_of(pa.array(history.document))
        cosine, missing = profile_cosines(viewed, start, end, display_of, vectors.places_of(document), vectors)
        columns[USER_LATENT] = pa.array(cosine, mask=missing)
    return pa.table(columns)


class _History:
    """Page views by user and time."""

    def __init__(self, views: pa.Table):
        user, timestamp = views["user"].to_numpy(), views["timestamp"].to_numpy()
        document = views["document_id"].to_numpy()
        order = np.argsort(user)
        self._users, starts = np.unique(user[order], return_index=True)
        self._bounds = np.append(starts, len(order))
        place = np.repeat(np.arange(len(self._users)), np.diff(self._bounds))
        # Sorting by one integer costs a fraction of np.lexsort by two; nothing depends on the order of views of one moment.
        keys = (place << _TIME_BITS) + timestamp[order]
        by_time = np.argsort(keys)
        order = order[by_time]
        self._keys = keys[by_time]  # ascending; `place` is by user already
        self.document = document[order]
        self._views = views
        self._place, self._time = place, timestamp[order]

    def range_before(self, user: np.ndarray, before: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns where each user's views start, and where those at or after `before` do (None: where the user's views end)."""
        if not len(self._users):
            return np.zeros(len(user), np.int64), np.zeros(len(user), np.int64)
        at = np.minimum(np.searchsorted(self._users, user), len(self._users) - 1)
        known = self._users[at] == user
        start, end = self._bounds[at], self._bounds[at + 1]
        if before is not None:
            end = np.searchsorted(self._keys, (at << _TIME_BITS) + np.maximum(before, 0))
        return start, np.where(known, end, start)

    def first_view(self, user: np.ndarray, document: np.ndarray) -> np.ndarray:
        """Returns when each user first viewed each document (-1: none), (n,) int64 ms; the largest integer if never."""
        never = np.full(len(user), np.iinfo(np.int64).max)
        if not len(self._users):
            return never
        views = (self._place << _DOCUMENT_BITS) + self.document
        by_pair = np.argsort(views)
        pairs, first = np.unique(views[by_pair], return_index=True)
        first_time = np.minimum.reduceat(self._time[by_pair], first)
        place = np.minimum(np.searchsorted(self._users, user), len(self._users) - 1)
        wanted = (place << _DOCUMENT_BITS) + document
        at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
        found = (pairs[at] == wanted) & (self._users[place] == user) & (document >= 0)
        return np.where(found, first_time[at], never)

    def traffic_source(self, displays: pa.Table) -> pa.Array:
        """Returns the source of the latest view that matches each display in user, document, platform and place, at or before it.

        Of several at one moment the largest counts; null if none matches.
        """
        names = {"user": "user", "doc_event_id": "document_id", "event_platform": "platform", "event_geo_location": "geo_location"}
        views = self._views.filter(pc.and_(pc.is_valid(self._views["traffic_source"]), self._may_match(displays)))
        key = np.zeros(displays.num_rows + views.num_rows, np.int64)
        valid = np.ones(len(key), bool)
        for asked, given in names.items():
            both = pa.chunked_array([*displays[asked].chunks, *views[given].cast(displays[asked].type).chunks])
            valid &= both.is_valid().to_numpy()
            code = both.combine_chunks().dictionary_encode().indices.fill_null(0).to_numpy().astype(np.int64)
            _, key = np.unique(key * (code.max(initial=0) + 1) + code, return_inverse=True)
        n = displays.num_rows
        source = views["traffic_source"].to_numpy()
        moment = (key[n:] << _TIME_BITS) + views["timestamp"].to_numpy()
        order = np.lexsort([source, moment])[: len(moment)]
        order = order[valid[n:][order]]
        moment, source = moment[order], source[order]
        asked_key = key[:n] << _TIME_BITS
        at = np.searchsorted(moment, asked_key + displays["timestamp"].to_numpy(), side="right") - 1
        found = (at >= 0) & valid[:n]
        found[found] = moment[at[found]] >= asked_key[found]
        values = np.zeros(n, np.int64)
        values[found] = source[at[found]]
        return pa.array(values, mask=~found)

    def _may_match(self, displays: pa.Table) -> pa.Array:
        """Whether a view's user and document are any display's; a few others pass, too."""

        def hashes(rows: pa.Table, document: str) -> np.ndarray:
            return (mix(rows["user"].to_numpy()) ^ mix(pc.fill_null(rows[document], -1).to_numpy())).view(np.int64)

        asked = pa.array(hashes(displays, "doc_event_id"))
        return pc.is_in(pa.array(hashes(self._views, "document_id")), value_set=asked)


def _profile_similarities(
    history: _History,
    start: np.ndarray,
    end: np.ndarray,
    display_of: np.ndarray,
    document: pa.ChunkedArray,
    aspects: DocumentAspects,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities of what was viewed in [start, end) before each display and the ad's document, row by row."""
    viewed = aspects.rows_of(pa.array(history.document)) % aspects.confidence.shape[0]
    row = aspects.rows_of(document.combine_chunks() if isinstance(document, pa.ChunkedArray) else document)
    value = np.zeros(len(display_of), np.float32)
    confidence = np.zeros(len(display_of), np.float32)
    missing = np.ones(len(display_of), bool)
    order = np.argsort(display_of, kind="stable")
    pairs = np.cumsum(end - start)
    cuts = [0, *(np.searchsorted(pairs, np.arange(_MAX_PAIRS, pairs[-1], _MAX_PAIRS)) + 1 if len(pairs) else []), len(start)]
    for low, high in itertools.pairwise(cuts):
        if low >= high:
            continue
        _, at = ranges(start[low:high], (end - start)[low:high])
        ends = np.concatenate([[0], np.cumsum((end - start)[low:high])])
        counts = sparse.csr_matrix((np.ones(len(at)), viewed[at], ends), shape=(high - low, aspects.confidence.shape[0]))
        profiles = (counts @ aspects.confidence).tocsr()
        profiles.sort_indices()
        rows = order[np.searchsorted(display_of[order], low) : np.searchsorted(display_of[order], high)]
        value[rows], confidence[rows], missing[rows] = similarities(profiles, display_of[rows] - low, row[rows], aspects)
    return value, confidence, missing
