"""The benchmark of the evaluation: that contenders judge the same rows and agree, and what it reports. Never how long it took."""

import math

import pyarrow.compute as pc
import pytest
import tensorflow as tf

from benchmarks import evaluate as bench
from benchmarks.evaluate_contender import CONTENDERS, agree, run
from benchmarks.evaluate_rows import write_models, write_rows
from components.evaluator.results import OVERALL, read_evaluation
from schemas.config import ModelConfig
from tests.rows import random_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    base = random_rows(60)
    write_rows(base, out, 150, base.num_rows + 20)
    write_models(base, out, ModelConfig(hidden_units=(4,), kind="deep"))
    return out


def test_what_is_measured_is_what_can_be():
    assert set(bench._KINDS.values()) == set(CONTENDERS)


def test_rows_are_repeated_as_other_displays(tmp_path):
    base = random_rows(60)
    write_rows(base, tmp_path, 50, base.num_rows + 7)
    files = sorted(tmp_path.glob("rows-*.gz"))
    ids = [
        [tf.train.Example.FromString(r.numpy()).features.feature["display_id"].int64_list.value[0] for r in rows]
        for rows in (tf.data.TFRecordDataset(str(file), "GZIP") for file in files)
    ]
    assert [len(found) for found in ids] == [50, base.num_rows, 7]
    assert len(set(ids[0])) + len(set(ids[1])) + len(set(ids[2])) == len({i for found in ids for i in found})
    assert ids[1] == [i + pc.max(base["display_id"]).as_py() + 1 for i in base["display_id"].to_pylist()]


def test_too_short_a_log(tmp_path):
    with pytest.raises(ValueError, match="must have 5000 rows at least"):
        write_rows(random_rows(10), tmp_path, 5000, 0)


@pytest.mark.slow  # processes that import TensorFlow
def test_contenders_agree(data, tmp_path):
    files = sorted(map(str, data.glob("rows-*.gz")))
    took = {kind: run(kind, data, tmp_path / kind, files[:2]) for kind in CONTENDERS}
    assert all(set(result) == {"cpu_s", "wall_s", "peak_rss_mb"} for result in took.values())
    rows = read_evaluation(tmp_path / "clickrank").candidate[OVERALL]["example_count"]
    assert rows == 150 + random_rows(60).num_rows
    found = agree(tmp_path / "clickrank", tmp_path / "tfma")
    assert found["largest_difference"] <= bench.TOLERANCE
    assert found["numbers"] > 500
    run("clickrank", data, tmp_path / "fewer", files[:1])
    assert agree(tmp_path / "fewer", tmp_path / "fewer")["largest_difference"] == 0
    assert agree(tmp_path / "fewer", tmp_path / "clickrank")["largest_difference"] > 0.01


def test_numbers_add_up(monkeypatch):
    asked = []
    found = {"largest_difference": 1e-12, "numbers": 7}

    def contender(kind, *arguments):
        asked.append(kind)
        if kind == "agree":
            return found
        return {"cpu_s": {"read": 10, "score": 30, "clickrank": 35, "tfma": 50}[kind], "wall_s": 1.0, "peak_rss_mb": 10.4}

    monkeypatch.setattr(bench, "run", lambda *arguments: None)
    monkeypatch.setattr(bench, "_contender", contender)
    outcome = bench.measure(1000, 100)
    assert (outcome["cpu_s"], outcome["read_cpu_s"], outcome["forward_cpu_s"], outcome["judge_cpu_s"]) == (35, 10, 20, 5)
    assert outcome["tfma_cpu_s"] == 50 * 10
    assert asked == ["read", "score", "clickrank", "tfma", "clickrank", "agree"]
    assert [r["rows"] for r in outcome["results"]] == [1000, 1000, 1000, 100, 100]
    assert "1,000 rows, two models: 35.0 CPU s, of which reading 10.0, the models 20.0, judging 5.0" in bench.summary(outcome)
    for difference in (1e-6, math.nan, math.inf):
        found["largest_difference"] = difference
        with pytest.raises(bench.BenchmarkError, match="clickrank and TFMA differ"):
            bench.measure(1000, 100)
