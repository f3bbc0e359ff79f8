"""The leak audit over Parquet files: a planted leak is named, honest columns are not."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from pipeline.audit import audit, lines
from tests.rows import random_rows

DISPLAYS, EVAL_DISPLAYS = 4000, 1500


@pytest.fixture(scope="module")
def rows():
    return random_rows(DISPLAYS + EVAL_DISPLAYS, seed=1)


def write(folder, rows):
    """Two files for train and one for eval."""
    display = rows["display_id"]
    for name, low, high in (("train-0", 0, 2000), ("train-1", 2000, DISPLAYS), ("eval-0", DISPLAYS, DISPLAYS + EVAL_DISPLAYS)):
        part = rows.filter(pc.and_(pc.greater(display, low), pc.less_equal(display, high)))
        parquet.write_table(part, folder / f"{name}.parquet")
    return folder


def put(rows, name, values):
    at = rows.column_names.index(name)
    return rows.set_column(at, name, pa.array(values, rows.schema.field(name).type))


def test_honest_columns_pass_and_an_absent_table_is_said(tmp_path, rows):
    result = audit(write(tmp_path, rows), None, 1 << 20, 0.015)
    assert result["passed"]
    assert result["failed"] == []
    assert result["leak"] == {"page_views": None}
    assert any("page_views: n/a" in line for line in lines(result))
    (strong,) = [probe for probe in result["probes"] if probe["feature"] == "pop_ad_id"]
    assert strong["auc_train"] > 0.6
    assert strong["auc_eval"] > 0.6  # it says much, of both: that is no leak


@pytest.mark.parametrize("name", ["pop_topic_id_country_conf", "user_views", "event_platform", "popularity"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_column_made_of_the_train_labels_fails_by_name(tmp_path, rows, name, sign):
    rng = np.random.default_rng(0)
    label, train = rows["label"].to_numpy(), rows["display_id"].to_numpy() <= DISPLAYS
    noise = rng.integers(0, 3, len(label)) if name != "pop_topic_id_country_conf" else rng.normal(0, 2, len(label))
    planted = 5 + noise + sign * np.where(train, label, 0)
    result = audit(
        write(tmp_path, put(rows, name, planted.astype(int) if rows[name].type == pa.int64() else planted)), None, 1, 0.015
    )
    assert result["failed"] == [name]
    assert not result["passed"]
    assert result["probes"][0]["feature"] == name
    assert result["probes"][0]["verdict"] == "FAIL"
    assert any(name in line and "FAIL" in line for line in lines(result))
    assert audit(tmp_path, None, 1, 0.9)["passed"]  # the bound is the configuration's


def test_a_split_without_clicks_has_no_verdict(tmp_path, rows):
    write(tmp_path, put(rows, "label", np.zeros(rows.num_rows, int)))
    result = audit(tmp_path, None, 1, 0.015)
    assert {probe["verdict"] for probe in result["probes"]} == {"n/a"}
    assert all(isinstance(line, str) for line in lines(result))
