"""The metrics as TFX's Evaluator computes them, against NumPy on the same rows."""

import numpy as np
import pytest

from components.evaluator.average_precision import mean_average_precision
from components.evaluator.eval_config import eval_config
from components.evaluator.results import OVERALL, read_evaluation
from schemas.config import EvaluateConfig
from schemas.errors import InputDataError
from tests.components.evaluator.conftest import IN_PROCESS

SLICES = (("event_platform",), ("event_country",), ("ads_per_display",), ("event_platform", "event_country"))


@pytest.fixture(scope="module")
def run(evaluator, rows):
    """A model and a baseline that ranks the other way round, on rows in three shards."""
    folder, blessed = evaluator(
        eval_config(EvaluateConfig(slices=SLICES)),
        evaluator.examples(rows, 3),
        evaluator.model(weight=4.0),
        evaluator.model(weight=-4.0),
    )
    return read_evaluation(folder), blessed


def score(rows, weight):
    pop = rows["pop_ad_id"].fill_null(0.0).to_numpy()
    return 1 / (1 + np.exp(-np.float32(weight) * pop, dtype=np.float32))


def numpy_slices(rows):
    """Slice -> mask of its rows."""
    yield OVERALL, np.ones(rows.num_rows, bool)
    for names in SLICES:
        values = list(zip(*(rows[name].to_pylist() for name in names), strict=True))
        for value in set(values):
            if None not in value:
                key = tuple(sorted(zip(names, value, strict=True)))
                yield key, np.array([v == value for v in values])


def test_every_slice_equals_numpy(run, rows):
    evaluation, _ = run
    masks = dict(numpy_slices(rows))
    assert {tuple(sorted(key)) for key in evaluation.candidate} == set(masks)
    assert len(masks) > 15
    columns = {name: rows[name].to_numpy(zero_copy_only=False) for name in ("display_id", "label", "popularity")}
    for side, weight in ((evaluation.candidate, 4.0), (evaluation.baseline, -4.0)):
        for key, metrics in side.items():
            mask = masks[tuple(sorted(key))]
            scores = {
                "map_at_12": score(rows, weight),
                "map_at_12_random": np.zeros(rows.num_rows),
                "map_at_12_popularity": columns["popularity"],
            }
            for name, values in scores.items():
                expected = mean_average_precision(columns["display_id"][mask], values[mask], columns["label"][mask])
                assert metrics[name] == pytest.approx(expected.value, rel=1e-14, nan_ok=True), (key, name)
                assert metrics[f"{name}_displays"] == expected.displays, (key, name)
                assert metrics[f"{name}_displays_without_click"] == expected.displays_without_click, (key, name)


def test_overall_tells_the_models_apart(run):
    evaluation, _ = run
    own, other = evaluation.candidate[OVERALL], evaluation.baseline[OVERALL]
    assert own["map_at_12"] > own["map_at_12_random"] > other["map_at_12"]
    assert own["map_at_12_random"] == other["map_at_12_random"]
    assert own["map_at_12_displays"] == 77 - 8
    assert own["map_at_12_displays_without_click"] == 8


def test_click_metrics_equal_numpy(run, rows):
    metrics = run[0].candidate[OVERALL]
    label, p = rows["label"].to_numpy(), score(rows, 4.0).astype(np.float64)
    assert metrics["example_count"] == rows.num_rows
    assert metrics["log_loss"] == pytest.approx(-np.mean(np.where(label == 1, np.log(p), np.log1p(-p))), rel=1e-6)
    assert metrics["calibration"] == pytest.approx(p.sum() / label.sum(), rel=1e-6)
    binned = np.floor(p * 1000)
    wins = (binned[label == 1][:, None] > binned[label == 0]).mean() + 0.5 * (
        binned[label == 1][:, None] == binned[label == 0]
    ).mean()
    assert metrics["auc"] == pytest.approx(wins, rel=1e-12)


def test_the_evaluator_blesses_nothing(run):
    assert run[1] is False


def test_without_a_baseline_and_in_one_shard(run, evaluator, rows):
    config = eval_config(EvaluateConfig(slices=()))
    folder, _ = evaluator(config, evaluator.examples(rows, 1), evaluator.model(weight=4.0))
    evaluation = read_evaluation(folder)
    assert evaluation.baseline is None
    assert list(evaluation.candidate) == [OVERALL]
    assert evaluation.candidate[OVERALL] == pytest.approx(run[0].candidate[OVERALL], rel=1e-6)
    assert evaluation.candidate[OVERALL]["map_at_12"] == run[0].candidate[OVERALL]["map_at_12"]


def test_scores_that_are_not_numbers(evaluator, rows):
    config = eval_config(EvaluateConfig(slices=()))
    folder, _ = evaluator(config, evaluator.examples(rows, 2), evaluator.model(weight=float("nan")))
    metrics = read_evaluation(folder).candidate[OVERALL]
    assert metrics["map_at_12"] == pytest.approx(metrics["map_at_12_random"], rel=1e-14)
    assert all(np.isnan(metrics[name]) for name in ("log_loss", "calibration", "auc"))


def test_an_evaluation_of_nothing(tmp_path):
    with pytest.raises(InputDataError, match="no evaluation"):
        read_evaluation(tmp_path)


def test_several_workers_give_the_same_bits(evaluator, rows):
    config = eval_config(EvaluateConfig(slices=(("event_platform",), ("hour",))))
    inputs = (config, evaluator.examples(rows, 3), evaluator.model(weight=4.0))
    workers = ("--runner=DirectRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=3")
    one, other = (read_evaluation(evaluator(*inputs, beam_args=args)[0]) for args in ((IN_PROCESS,), workers))
    assert repr(one) == repr(other)
