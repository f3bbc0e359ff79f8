"""The benchmark of the training step: that contenders learn, and that what it reports adds up. Never how long it took."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks import step as bench
from benchmarks.model_rows import random_columns
from benchmarks.processes import BenchmarkError, Contender
from benchmarks.step_contender import answer, make, shrunk
from schemas.features import model_inputs

TINY = bench.Case("tiny", bench.OURS, 32, (8,), bucket_divisor=1000)


def test_flop_by_hand():
    # 17 ids of 64 or 128, six lists of 64, indicators and numbers: the width of the default network's input.
    width = sum(f.embedding_dim or f.buckets or 1 for f in model_inputs() if f.deep)
    assert replace(TINY, units=(4, 2)).flop_per_sample == 6 * (width * 4 + 4 * 2 + 2)


def test_the_full_size():
    tables = sum(f.buckets * f.embedding_dim for f in model_inputs() if f.embedding_dim)
    assert tables == pytest.approx(85.6e6, rel=0.01)
    assert bench.Case("", bench.OURS, 1).flop_per_sample == pytest.approx(33.3e6, rel=0.01)


def test_shrunk_tables():
    before, after = model_inputs(), shrunk(model_inputs(), 10)
    assert [f.buckets for f in after if f.name == "ad_id"] == [25_000]
    assert [f for f in before if not f.embedding_dim] == [f for f in after if not f.embedding_dim]


@pytest.mark.slow  # processes that import TensorFlow
@pytest.mark.parametrize(
    "case",
    [TINY, replace(TINY, jit_compile=True), replace(TINY, precision="bfloat16"), replace(TINY, kind=bench.KERAS)],
    ids=["ours", "xla", "bfloat16", "tf_keras"],
)
@pytest.mark.parametrize("optimizer", ["adagrad", "adam"])
def test_a_step_trains(case, optimizer):
    step = make(asdict(replace(case, deep_optimizer=optimizer)))
    losses = [step() for _ in range(20)]
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.slow  # processes that import TensorFlow
def test_a_contender_says_where_it_runs_and_what_steps_took():
    first, second = answer(asdict(TINY), ["2"])
    assert set(first) == {"version", "device"}
    assert set(second) == {"wall_s", "cpu_s", "loss"}


def test_numbers_add_up():
    about = {"version": "1", "device": "cpu"}

    def result(case, wall, cpu, value=0.5):
        return bench._result(case, about, [{"wall_s": wall * f, "cpu_s": cpu * f, "loss": value} for f in (1, 2, 3)], steps=2)

    case = replace(TINY, batch=1000)
    results = [
        result(case, 1.0, 4.0),
        result(replace(case, kind=bench.KERAS), 1.0, 2.0),
        bench._result(replace(case, kind=bench.TORCH), None, [], 2),
        result(replace(case, kind=bench.PEAK), 0.5, 1.0, 4000.0 * case.flop_per_sample),
    ]
    bench._relate(results)
    ours, keras, torch, peak = results
    assert (ours["ms_per_step"], ours["samples_per_second"], ours["samples_per_cpu_second"]) == (1000.0, 1000.0, 250.0)
    assert keras["samples_per_cpu_second"] == 500.0
    assert ours["ratio_to_fastest_peer"] == 0.5
    assert "apt-get install python3-torch" in torch["missing"]
    assert peak["samples_per_cpu_second"] == 8000.0
    assert ours["share_of_peak"] == pytest.approx(250 / 8000, abs=1e-4)
    shown = bench.table(results).splitlines()
    assert len(shown) == 5
    assert "not installed" in shown[3]


def test_without_torch_the_row_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "TORCH_PYTHONS", ("no-such-python",))
    assert bench.find_torch() is None
    assert bench._start(replace(TINY, kind=bench.TORCH), tmp_path / "t", stack=None) is None


def test_the_same_rows_go_to_torch(tmp_path):
    import numpy as np

    columns, spec = bench._for_torch(TINY, tmp_path)
    with np.load(columns) as arrays:
        assert {name: a.shape[0] for name, a in arrays.items()} == dict.fromkeys(random_columns(model_inputs(), 1), 32)
    assert json.loads(Path(spec).read_text())["units"] == [8]


@pytest.mark.slow  # processes that import TensorFlow
def test_growth_is_measured_in_pairs():
    pairs = bench.growth_cases()
    for small, large in zip(pairs[::2], pairs[1::2], strict=True):
        assert small.bucket_divisor == 10 * large.bucket_divisor
        assert replace(small, bucket_divisor=1, name="") == replace(large, name="")


def test_a_contender_that_fails_is_told():
    with Contender(["/bin/sh", "-c", "echo went wrong >&2"]) as contender, pytest.raises(BenchmarkError, match="went wrong"):
        contender.ask("1")
