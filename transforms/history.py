"""What the click history adds to a row: as-of CTR features and the popularity baseline's score."""

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.config import FeaturesConfig
from schemas.features import CTR_GROUPS, CtrGroup
from transforms.aspects import DocumentAspects, explode
from transforms.base_rows import SPLIT
from transforms.ctr import count_as_of, rate, rate_confidence
from transforms.partition import mix, partition_of, scatter
from transforms.split import TRAIN
from transforms.wanted import POPULARITY_GROUP, ctr_groups, with_confidence


def history_requests(
    rows: pa.Table, home: int, partitions: int, aspects: dict[str, DocumentAspects], wanted: Collection[str]
) -> Iterator[tuple[tuple[int, int], pa.Table]]:
    """Splits off, for every CTR group, what its counting needs, by the partition of the group's key.

    Args:
        rows: Base rows of one partition.
        home: Its number, to which the counts must return.
        partitions: How many partitions the keys of one group have.
        aspects: By aspect name; a group of an absent one asks nothing.
        wanted: The columns to compute; a group that gives none of them asks nothing.

    Yields:
        ((index of the CTR group, partition of the key), one row for each key that a row has: `home`, `row`, `key`,
        `country` and `aspect` (together the group), `confidence` of the aspect, `ad`, `ads_per_display`, `timestamp`,
        `clicked`, `is_history`).
    """
    request = pa.table(
        {
            "home": pa.array(np.full(rows.num_rows, home, np.int32)),
            "row": pa.array(np.arange(rows.num_rows, dtype=np.int32)),
            "ad": rows["ad_id"],
            "ads_per_display": rows["ads_per_display"].cast(pa.int16()),
            "timestamp": rows["timestamp"],
            "clicked": pc.fill_null(rows["label"], 0).cast(pa.int8()),
            "is_history": pa.array(np.equal(rows[SPLIT].to_numpy(), TRAIN)),
        }
    )
    document_rows = {name: table.rows_of(rows["doc_id"].combine_chunks()) for name, table in aspects.items()}
    for index, group in ctr_groups(wanted):
        if group.aspect and group.aspect not in aspects:
            continue
        key, country, valid = _key(rows, group.key)
        places = np.flatnonzero(valid)
        code, confidence = np.zeros(len(places), np.int32), np.ones(len(places), np.float32)
        if group.aspect:
            at, code, confidence = explode(aspects[group.aspect], document_rows[group.aspect][places])
            places = places[at]
        keyed = request.take(pa.array(places))
        for name, values in (("key", key[places]), ("country", country[places]), ("aspect", code), ("confidence", confidence)):
            keyed = keyed.append_column(name, pa.array(values))
        numbers = partition_of(mix(key[places]).view(np.int64) ^ country[places] ^ code, partitions)
        for number, part in scatter(keyed, numbers):
            yield (index, number), part


def answer_requests(index: int, requests: pa.Table, features: FeaturesConfig) -> Iterator[tuple[int, pa.Table]]:
    """Computes the CTR of every row's group as of the row, for one partition of one CTR group's keys.

    Yields:
        (home, rows that have more than the group's least views: `group`, `row`, `aspect`, `clicks`, `views`, `rate`, and `weight`,
        the confidence in the rate). Of the popularity's group also rows without views, as it has no threshold.
    """
    group = CTR_GROUPS[index]
    confidence = requests["confidence"].to_numpy().astype(np.float64)
    counts = count_as_of(
        _group_numbers(*(requests[name].to_numpy() for name in ("key", "country", "aspect"))),
        requests["timestamp"].to_numpy(),
        requests["clicked"].to_numpy().astype(np.int64),
        requests["is_history"].to_numpy(),
        requests["ad"].to_numpy() if group.per_ad else None,
        confidence if group.aspect else None,
        delay_ms=features.delay_ms,
        see_all=features.history == "all",
    )
    prior = 1.0 / requests["ads_per_display"].to_numpy()  # one ad of each display is clicked
    sureness = rate_confidence(counts.views / np.maximum(counts.ads, 1), features.ctr_full_confidence_views)
    answers = pa.table(
        {
            "group": pa.array(np.full(requests.num_rows, index, np.int8)),
            "home": requests["home"],
            "row": requests["row"],
            "aspect": requests["aspect"],
            "clicks": pa.array(counts.clicks),
            "views": pa.array(counts.views),
            "rate": pa.array(rate(counts.clicks, counts.views, prior, features.ctr_prior_views)),
            "weight": pa.array(sureness * counts.confidence * confidence),
        }
    )
    least = -1 if group.feature == POPULARITY_GROUP else min_views(group, features)
    answers = answers.filter(pa.array(counts.views > least))
    yield from scatter(answers.drop_columns(["home"]), answers["home"].to_numpy())


def min_views(group: CtrGroup, features: FeaturesConfig) -> int:
    """The views above which a group's CTR is not missing."""
    return features.ctr_min_views.get(group.feature, group.min_views)


def history_columns(
    rows: pa.Table, answers: pa.Table | None, features: FeaturesConfig, wanted: Collection[str]
) -> dict[str, pa.Array]:
    """Builds the CTR features and the popularity score.

    Over several aspects of the ad's document with rates r_i and weights w_i (confidence in the rate, times the aspect's mean
    confidence over the group's history, times the document's confidence in it), the CTR is sum(r_i w_i) / sum(w_i) and its
    confidence max(w_i).

    Args:
        rows: Base rows of one partition.
        answers: The answers to its requests; None if there were none.
        wanted: The columns to compute.
    """
    n = rows.num_rows
    columns: dict[str, pa.Array] = {}
    clicks, views = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for index, group in ctr_groups(wanted):
        mine = answers.filter(pc.equal(answers["group"], pa.scalar(index, pa.int8()))) if answers is not None else None
        if mine is not None and group.feature == POPULARITY_GROUP:
            at = mine["row"].to_numpy()
            clicks[at], views[at] = mine["clicks"].to_numpy(), mine["views"].to_numpy()
            mine = mine.filter(pc.greater(mine["views"], min_views(group, features)))
        columns |= _group_columns(group, mine, n)
    prior = 1.0 / rows["ads_per_display"].to_numpy()
    columns["popularity"] = pa.array(rate(clicks, views, prior, features.popularity_prior_views), pa.float32())
    return columns


def _group_columns(group: CtrGroup, answers: pa.Table | None, n: int) -> dict[str, pa.Array]:
    value, confidence, views = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    missing = np.ones(n, bool)
    if answers is not None and answers.num_rows:
        # A fixed order, so that the sums are the same however the work was cut.
        order = np.argsort((answers["row"].to_numpy().astype(np.int64) << 32) + answers["aspect"].to_numpy())
        row = answers["row"].to_numpy()[order]
        rates, weights = answers["rate"].to_numpy()[order], answers["weight"].to_numpy()[order]
        at, start = np.unique(row, return_index=True)
        total = np.add.reduceat(weights, start)
        single = np.diff(np.append(start, len(row))) == 1
        value[at] = np.where(single, rates[start], np.add.reduceat(rates * weights, start) / np.where(total > 0, total, 1.0))
        confidence[at] = np.maximum.reduceat(weights, start)
        views[at] = answers["views"].to_numpy()[order][start]
        missing[at] = False
    arrays = (pa.array(values.astype(np.float32), mask=missing) for values in (value, confidence, value * confidence))
    columns = dict(zip(with_confidence(group.feature), arrays, strict=True))
    if group.views_feature:
        columns[group.views_feature] = pa.array(views, mask=missing)
    return columns


def _group_numbers(*keys: np.ndarray) -> np.ndarray:
    """One integer for each distinct combination of integers, (n,) each; exact, whatever their size."""
    numbers = np.zeros(len(keys[0]), np.int64)
    varying = [key for key in keys if len(key) and (key != key[0]).any()]
    for i, key in enumerate(varying):
        if len(varying) == 1:
            return key.astype(np.int64)
        code, distinct = pd.factorize(key)
        if i > 1:  # so that the product below stays far from 2^63
            numbers, _ = pd.factorize(numbers)
        numbers = numbers * len(distinct) + code
    return numbers


def _key(rows: pa.Table, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row's key columns as integers, exact: up to two ids in one, a country in another; and whether none is null."""
    ids, country, valid = np.zeros(rows.num_rows, np.int64), np.zeros(rows.num_rows, np.int64), np.ones(rows.num_rows, bool)
    for name in names:
        column = rows[name]
        valid &= column.is_valid().to_numpy()
        if pa.types.is_string(column.type):
            country = _two_characters(column)
        else:
            ids = (ids << 32) + pc.fill_null(column, 0).to_numpy()  # ids are below 2^31
    return ids, country, valid


def _two_characters(column: pa.ChunkedArray) -> np.ndarray:
    encoded = column.combine_chunks().dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    numbers = [sum(ord(character) << (21 * place) for place, character in enumerate(text)) for text in texts]
    return np.array([*numbers, 0], np.int64)[encoded.indices.fill_null(len(numbers)).to_numpy()]
