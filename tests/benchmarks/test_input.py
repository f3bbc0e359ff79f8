"""The benchmark of reading: that every contender reads all of its rows, and what it reports. Never how long it took."""

import itertools
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import input as bench
from benchmarks.input_contender import CONTENDERS, answer
from benchmarks.model_rows import random_columns, random_sizes
from components.trainer.input import unpack
from pipeline.cli import app
from schemas.features import Feature, model_inputs
from schemas.records import LABEL, record_layout

ROWS = 2000


def test_what_is_measured_is_what_can_be():
    assert set(bench.CONTENDERS) == set(CONTENDERS)


def test_rows_are_those_of_the_feature_table():
    features = model_inputs()
    columns = random_columns(features, 50)
    assert list(columns) == [*(f.name for f in features), LABEL]
    for feature in features:
        values = columns[feature.name]
        assert values.shape == ((50, feature.hotness) if feature.kind == "ids" else (50,))
        low, high = (-1, feature.buckets) if feature.buckets else (0, 1)
        assert values.min() >= low
        assert values.max() < high


def test_frequent_ids_are_spread_over_the_buckets():
    ids = random_columns([Feature("ad", "item", "id", "int64", "", buckets=1000, embedding_dim=2)], 10_000)["ad"]
    counts = np.sort(np.bincount(ids[ids >= 0], minlength=1000))[::-1]
    assert counts[:10].sum() > 10 * counts[-500:].sum() / 50
    assert 300 < ids[ids >= 0].mean() < 700


@pytest.mark.parametrize("rows", [1, 2, 57])
def test_displays_have_all_rows(rows):
    sizes = random_sizes(rows)
    assert sizes.sum() == rows
    assert sizes.min() >= 1


@pytest.mark.slow  # processes that import TensorFlow
@pytest.mark.parametrize(
    "name", ["records-512-shuffled", "records-4096-shuffled-displays", "prebatched-examples-4096-shuffled", "plain-examples-4096"]
)
def test_a_contender_reads_what_it_says(name, tmp_path):
    def read(batch):
        if name.startswith("records"):
            return unpack(batch.blocks, record_layout(model_inputs()))[0]["ad_id"].shape[0]
        return batch["ad_id"].shape[0]

    epoch, rows = CONTENDERS[name](tmp_path / "files", ROWS)
    assert sum(map(read, epoch())) == rows
    measured = list(itertools.islice(answer(name, tmp_path / "more", ROWS, ["epoch", "epoch"]), 2))
    assert [m["rows"] for m in measured] == [rows, rows]
    assert not (tmp_path / "more").exists() or measured[0]["bytes"] > 0


def test_numbers_add_up():
    answers = [{"rows": 100, "steps": 4, "bytes": 2000, "wall_s": w, "cpu_s": c} for w, c in ((0.5, 0.4), (1.0, 0.2))]
    assert bench._result("x", answers, 1e5) == ("x", 100, 4, 200, 500, 50.0, 20.0, 0.0, 0.1)


@pytest.mark.slow  # processes that import TensorFlow
def test_the_command_prints_one_object(monkeypatch):
    monkeypatch.setattr(bench, "CONTENDERS", (bench.OURS, bench.PREBATCHED))
    outcome = CliRunner().invoke(app, ["bench", "input", "--rows", str(ROWS), "--rounds", "1", "--json"])
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout.splitlines()[-1])
    ours, theirs = result["results"]
    assert (ours["contender"], theirs["contender"]) == (bench.OURS, bench.PREBATCHED)
    assert result["rows_per_second"] == ours["rows_per_second"] > 0
    assert result["ratio_to_prebatched_examples"] == pytest.approx(
        ours["rows_per_cpu_second"] / theirs["rows_per_cpu_second"], abs=1e-3
    )
    assert result["copy_bytes_per_second"] > 0
