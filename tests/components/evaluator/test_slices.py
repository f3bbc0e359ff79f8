"""Slice columns by hand: three displays of a few rows."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.evaluator.slices import DERIVED, columns_read, find_slice_column
from schemas import features
from schemas.config import EvaluateConfig
from schemas.errors import ConfigError

DOC = Path(__file__).parents[3] / "docs" / "evaluation.md"
HOUR_MS = 3_600_000


def values(name, columns, starts):
    column = find_slice_column(name)
    assert set(columns) == set(column.reads)
    return column.of_displays(columns, np.array(starts, np.int64)).to_pylist()


def test_hour_is_that_of_the_place():
    # Timestamp 0 is 2016-06-14 04:00 UTC: midnight in New York, 21:00 the day before in California, 05:00 in London.
    columns = {
        "timestamp": pa.array([2, 2, 2, 2 + 2 * HOUR_MS, 2]),
        "event_country_state": pa.array(["US>NY", "US>NY", "US>CA", "GB", None]),
    }
    assert values("hour", columns, [0, 2, 3, 4]) == ["00", "21", "07", None]


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([0], "0-6 days"),
        ([6, 6, 7], "0-6 days"),
        ([7], "7-29 days"),
        ([3, 40], "0-6 days"),  # of two the lower is the median
        ([3, 40, 41], "30-179 days"),
        ([179], "30-179 days"),
        ([180], "180 days or more"),
        ([None, 8, None], "7-29 days"),
        ([None, None], "unknown"),
    ],
)
def test_ad_age_is_the_median_of_the_known(ages, expected):
    columns = {"doc_ad_days_since_published": pa.array([1000, *ages, 0, None], pa.int64())}
    assert values("ad_age", columns, [0, 1, 1 + len(ages)]) == ["180 days or more", expected, "0-6 days"]


def test_new_ad_if_one_has_no_rate():
    assert values("new_ad", {"ad_views": pa.array([6, 9, 6, None, None])}, [0, 2, 4]) == ["known", "new", "new"]


def test_new_user_has_at_most_the_view_of_this_page():
    assert values("new_user", {"user_views": pa.array([0, 1, 2, 2, None])}, [0, 1, 2, 4]) == ["new", "new", "known", None]


def test_a_shared_column_is_itself():
    assert values("event_platform", {"event_platform": pa.array([2, 2, None, 0])}, [0, 2, 3]) == [2, None, 0]


@pytest.mark.parametrize("column", DERIVED, ids=lambda column: column.name)
def test_no_display_has_no_value(column):
    types = {"string": pa.string(), "int64": pa.int64(), "float32": pa.float32()}
    empty = {name: pa.array([], types[features.columns()[name]]) for name in column.reads}
    assert len(column.of_displays(empty, np.zeros(0, np.int64))) == 0


@pytest.mark.parametrize("column", DERIVED, ids=lambda column: column.name)
def test_no_slice_looks_at_the_label(column):
    assert "label" not in column.reads
    assert column.name not in features.columns()


def test_columns_read():
    assert columns_read(("hour", "event_platform")) == {"timestamp", "event_country_state", "event_platform"}


def test_a_column_that_is_not_there():
    with pytest.raises(ConfigError, match="no column 'weather'"):
        find_slice_column("weather")


def test_the_documents_table_is_this_one():
    text = DOC.read_text().partition("## Slices")[2].partition("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [column.name for column in DERIVED]
    by_default = re.findall(r"`(\w+)`", text.partition("By default the slices are")[2].partition("\n\n")[0])
    assert [(name,) for name in by_default] == list(EvaluateConfig().slices)
