"""The benchmark of feature engineering: that it runs, that the contenders agree, and what it reports. Never how long it took."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from benchmarks import feature_rows
from benchmarks.agreement import disagreements
from benchmarks.features import BY_HAND, OURS, OURS_WHOLE, OURS_ZIPPED, Measured, measure
from benchmarks.processes import BenchmarkError
from pipeline.cli import app
from transforms.dimensions import save


def test_every_contender_is_measured_and_agrees():
    outcome = CliRunner().invoke(app, ["bench", "features", "--page-views", "2000", "--json"])
    assert outcome.exit_code == 0, outcome.output
    results = json.loads(outcome.stdout)["results"]
    assert [result["contender"] for result in results] == [OURS, *BY_HAND, OURS_WHOLE, OURS_ZIPPED]
    for result in results:
        assert tuple(result) == Measured._fields
        assert (result["page_views"], result["displays"]) == (2000, 100)
        assert result["cpu_s"] > 0
        assert result["peak_rss_mb"] > 0


def test_contenders_that_disagree_are_found(tmp_path):
    rows = pa.table({name: pa.array([1.0, 2.0, None]) for name in feature_rows.CORE_COLUMNS})
    (tmp_path / "ours").mkdir()
    save(rows, str(tmp_path / "ours" / "part-00000.arrow"))
    pq.write_table(rows, tmp_path / "same.parquet")
    assert disagreements(tmp_path / "ours", tmp_path / "same.parquet") == []
    for wrong in ([1.0, 2.1, None], [1.0, 2.0, 0.0]):
        changed = rows.set_column(rows.column_names.index("pop_ad_id"), "pop_ad_id", pa.array(wrong))
        pq.write_table(changed, tmp_path / "other.parquet")
        assert disagreements(tmp_path / "ours", tmp_path / "other.parquet") == ["pop_ad_id: 1 of 3 rows differ"]


def test_a_contender_that_fails_is_told(tmp_path):
    (tmp_path / "page-views-40").mkdir()  # no log of these parameters, so none is written over it
    (tmp_path / "page-views-40" / "mine").touch()
    with pytest.raises(BenchmarkError, match="synth"):
        measure([40], tmp_path)
