"""Hot keys: one document in a third of all rows, and one user with most of the page views."""

import json

import numpy as np
import pytest
from pyarrow import parquet

from schemas.features import CTR_GROUPS
from tests.faults.command import check_good, clickrank
from tests.tables import DAY, write_table

DISPLAYS, VIEWS, USERS, DOCUMENTS = 20_000, 400_000, 2000, 1000
HOT = 0
"""The hot ad, which is of the hot document, and the hot user."""
pytestmark = pytest.mark.slow


def write_log(folder, *, hot):
    """Writes a log of 13 days with three ads a display; returns its events and page views as (user, document, time) arrays."""
    rng = np.random.default_rng(1)
    ads = 1 + np.argsort(rng.random((DISPLAYS, 50)), axis=1)[:, :3]
    user, viewer = rng.integers(1, USERS, DISPLAYS), rng.integers(1, USERS, VIEWS)
    if hot:
        ads[rng.random(DISPLAYS) < 0.9, 0] = HOT
        user[rng.random(DISPLAYS) < 0.02] = HOT
        viewer[rng.random(VIEWS) < 0.75] = HOT
    time, viewed = rng.integers(0, 13 * DAY, DISPLAYS), rng.integers(0, 13 * DAY, VIEWS)
    document = rng.integers(0, DOCUMENTS, VIEWS)
    clicked = rng.integers(0, 3, DISPLAYS)
    write_table(folder, "clicks_train", [(d, ads[d, i], int(i == clicked[d])) for d in range(DISPLAYS) for i in range(3)])
    write_table(folder, "events", [(d, f"{user[d]:014x}", 7, time[d], 1, "US>CA") for d in range(DISPLAYS)])
    views = zip(viewer.tolist(), document.tolist(), viewed.tolist(), strict=True)
    write_table(folder, "page_views", [(f"{u:014x}", d, t, 1, "US>CA", 1) for u, d, t in views])
    write_table(folder, "promoted_content", [(ad, ad, ad % 7, ad % 5) for ad in range(51)])
    write_table(folder, "documents_meta", [(d, d % 9, d % 8, None) for d in range(DOCUMENTS)])
    write_table(folder, "documents_topics", [(d, (d + i) % 40, 0.4) for d in range(DOCUMENTS) for i in range(2)])
    return (user, time), (viewer, document, viewed)


def features(log, out):
    """Makes the features in small partitions; returns the rows and the peak memory in bytes."""
    done = clickrank("features", log, out, "--json", "--set", "features.partition_bytes=2000000")
    check_good(done)
    rows = parquet.read_table(sorted(map(str, out.glob("*.parquet"))), partitioning=None)
    return rows, json.loads(done.stdout)["peak_rss_bytes"]


def test_hot_keys_are_counted_right_and_take_bounded_memory(tmp_path):
    write_log(tmp_path / "even", hot=False)
    _, even_bytes = features(tmp_path / "even", tmp_path / "even-rows")
    (user, _), (viewer, document, viewed) = write_log(tmp_path / "hot", hot=True)
    rows, hot_bytes = features(tmp_path / "hot", tmp_path / "hot-rows")
    assert rows.num_rows == 3 * DISPLAYS
    time, ad, display = (rows[name].to_numpy() for name in ("timestamp", "ad_id", "display_id"))

    shown = ad == HOT
    assert 0.28 < shown.mean() < 0.32
    history = np.sort(time[shown & (time < 11 * DAY)])
    before = np.searchsorted(history, time[shown])
    (group,) = [group for group in CTR_GROUPS if group.views_feature == "ad_views"]
    found = rows["ad_views"].to_numpy(zero_copy_only=False)[shown]
    assert np.array_equal(np.nan_to_num(found), np.where(before > group.min_views, before, 0))

    asked = user[display] == HOT
    assert asked.sum() > 1000
    own = viewer == HOT
    assert np.array_equal(rows["user_views"].to_numpy()[asked], np.searchsorted(np.sort(viewed[own]), time[asked]))
    first = np.full(DOCUMENTS, 13 * DAY)
    np.minimum.at(first, document[own], viewed[own])
    assert np.array_equal(rows["user_has_already_viewed_doc"].to_numpy()[asked], first[ad[asked]] < time[asked])
    assert hot_bytes < 2 * even_bytes  # 1.4 was measured
