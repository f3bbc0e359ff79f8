"""What the click history adds to a row: as-of CTR features and the popularity baseline's score."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.config import FeaturesConfig
from schemas.features import CTR_GROUPS
from transforms.base_rows import SPLIT
from transforms.ctr import count_as_of, rate
from transforms.examples import arrow_schema
from transforms.partition import partition_of, scatter
from transforms.split import TRAIN

POPULARITY_GROUP = "pop_ad_id"
"""The CTR group by which the popularity baseline ranks."""


def history_requests(rows: pa.Table, home: int, partitions: int) -> Iterator[tuple[tuple[int, int], pa.Table]]:
    """Splits off, for every CTR group, what its counting needs, by the partition of the group's key.

    Args:
        rows: Base rows of one partition.
        home: Its number, to which the counts must return.

    Yields:
        ((index of the CTR group, partition of the key), table of `home`, `row`, `key`, `timestamp`, `clicked`, `is_history`).
    """
    is_history = np.equal(rows[SPLIT].to_numpy(), TRAIN)
    request = pa.table(
        {
            "home": pa.array(np.full(rows.num_rows, home)),
            "row": pa.array(np.arange(rows.num_rows)),
            "timestamp": rows["timestamp"],
            "clicked": pc.fill_null(rows["label"], 0),
            "is_history": pa.array(is_history),
        }
    )
    for index, group in enumerate(CTR_GROUPS):
        (name,) = group.key
        keyed = request.append_column("key", rows[name]).filter(pc.is_valid(rows[name]))
        for number, part in scatter(keyed, partition_of(keyed["key"].to_numpy(), partitions)):
            yield (index, number), part


def answer_requests(index: int, requests: pa.Table, delay_ms: int) -> Iterator[tuple[int, pa.Table]]:
    """Counts as of every row of one partition of one CTR group's keys.

    Yields:
        (home, table of `group`, `row`, `clicks`, `views`).
    """
    clicks, views = count_as_of(
        requests["key"].to_numpy(),
        requests["timestamp"].to_numpy(),
        requests["clicked"].to_numpy(),
        requests["is_history"].to_numpy(),
        delay_ms,
    )
    counts = pa.table(
        {
            "group": pa.array(np.full(requests.num_rows, index, np.int8)),
            "row": requests["row"],
            "clicks": pa.array(clicks),
            "views": pa.array(views),
        }
    )
    yield from scatter(counts, requests["home"].to_numpy())


def add_history(rows: pa.Table, counts: pa.Table | None, features: FeaturesConfig) -> pa.Table:
    """Adds the CTR features and the popularity score to base rows.

    Args:
        rows: Base rows of one partition.
        counts: The answers to its requests; None if there were none.

    Returns:
        Rows in `arrow_schema()`, with `SPLIT` behind.
    """
    clicks = np.zeros((len(CTR_GROUPS), rows.num_rows), np.int64)
    views = np.zeros_like(clicks)
    if counts is not None:
        where = counts["group"].to_numpy(), counts["row"].to_numpy()
        clicks[where], views[where] = counts["clicks"].to_numpy(), counts["views"].to_numpy()
    columns = {name: rows[name] for name in rows.column_names}
    prior = 1.0 / rows["ads_per_display"].to_numpy()  # one ad of each display is clicked
    for index, group in enumerate(CTR_GROUPS):
        value, missing = rate(clicks[index], views[index], prior, features.ctr_prior_views, group.min_views)
        columns[group.feature] = pa.array(value, mask=missing)
        if group.views_feature:
            columns[group.views_feature] = pa.array(views[index], mask=missing)
        if group.feature == POPULARITY_GROUP:
            smooth, _ = rate(clicks[index], views[index], prior, features.popularity_prior_views, min_views=-1)
            columns["popularity"] = pa.array(smooth)
    schema = arrow_schema()
    table = pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)
    return table.append_column(SPLIT, rows[SPLIT])
