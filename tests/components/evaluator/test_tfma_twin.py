"""Our evaluator and TFMA's own, row by row, come to the same numbers, and TFMA reads what ours wrote."""

import numpy as np
import pytest
import tensorflow_model_analysis as tfma

from components.evaluator.eval_config import eval_config
from components.evaluator.names import displays_key
from components.evaluator.results import OVERALL, read_evaluation
from schemas.config import EvaluateConfig

SLICES = (("event_platform",), ("event_country",), ("ads_per_display",), ("event_platform", "event_country"))
"""Columns of the Examples: TFMA's own evaluator knows none of the computed ones."""


@pytest.fixture(scope="module")
def both(evaluator, rows):
    """Folders of the same evaluation, ours and TFMA's."""
    inputs = (
        eval_config(EvaluateConfig(slices=SLICES)),
        evaluator.examples(rows, 3),
        evaluator.model(weight=1.7, sigmoid=False),
        evaluator.model(weight=-0.1, sigmoid=False),
    )
    return evaluator(*inputs)[0], evaluator(*inputs, tfx=True)[0]


def test_every_metric_of_every_slice_is_the_same(both):
    ours, theirs = map(read_evaluation, both)
    for side in ("candidate", "baseline"):
        own, other = getattr(ours, side), getattr(theirs, side)
        assert set(own) == set(other)
        assert len(own) > 15
        for key, metrics in other.items():
            assert set(metrics) <= set(own[key])
            assert {"mrr", "ndcg_at_12", "gauc", "auc", "log_loss", "calibration", displays_key("map_at_12_random")} < set(metrics)
            for name, value in metrics.items():
                assert own[key][name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), (side, key, name)


def differences(folder):
    return {
        (str(record.slice_key), entry.key.name): entry.value.double_value.value
        for record in tfma.load_metrics(str(folder))
        for entry in record.metric_keys_and_values
        if entry.key.is_diff
    }


def test_the_differences_to_the_baseline_are_the_same(both):
    ours, theirs = map(differences, both)
    assert len(theirs) > 100
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), key


def buckets(folder, model):
    (plots,) = (r for r in tfma.load_plots(str(folder)) if not r.slice_key.single_slice_keys)
    (plot,) = (e.value for e in plots.plot_keys_and_values if e.key.model_name == model)
    return np.array(
        [
            (
                b.lower_threshold_inclusive,
                b.upper_threshold_exclusive,
                b.num_weighted_examples.value,
                b.total_weighted_label.value,
                b.total_weighted_refined_prediction.value,
            )
            for b in plot.calibration_histogram_buckets.buckets
        ]
    )


@pytest.mark.parametrize("model", ["candidate", "baseline"])
def test_the_calibration_plot_is_the_same(both, model):
    ours, theirs = (buckets(folder, model) for folder in both)
    assert ours.shape == (1002, 5)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_overall_slice_comes_once(both):
    assert sum(key == OVERALL for key in read_evaluation(both[0]).candidate) == 1


def test_tfmas_views_take_it(both):
    result = tfma.load_eval_result(str(both[0]), model_name="candidate")
    metrics = tfma.view.render_slicing_metrics(result, slicing_column="event_platform").data
    assert {row["slice"] for row in metrics} == {f"event_platform:{value}" for value in range(3)}
    assert len(tfma.view.render_plot(result).data["calibrationHistogramBuckets"]["buckets"]) == 1002
