import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluator.average_precision import mean_average_precision
from components.trainer.evaluation import EvalTotals, evaluate

LABELS = np.array([1, 0, 0, 0, 1, 0, 0])
LOGITS = np.array([0.6, 0.8, 0.2, -1.0, 2.0, 0.0, 0.0])
DISPLAYS = np.array([0, 0, 0, 1, 1, 2, 2])
"""The click is second of three, first of two, and absent."""


def measure(*parts, add_up=lambda vector: vector):
    return evaluate([[part] for part in parts], add_up)


def test_by_hand():
    metrics = measure((LOGITS, LABELS, DISPLAYS))
    assert metrics.map_at_12 == pytest.approx((1 / 2 + 1) / 2)
    assert metrics.ndcg_at_12 == pytest.approx((1 / math.log2(3) + 1) / 2)
    p = 1 / (1 + np.exp(-LOGITS))
    assert metrics.log_loss == pytest.approx(-np.mean(np.log(np.where(LABELS == 1, p, 1 - p))))
    assert metrics.calibration == pytest.approx(p.sum() / 2)
    wins = [(p[i] > p[j]) + (p[i] == p[j]) / 2 for i in (0, 4) for j in (1, 2, 3, 5, 6)]
    assert metrics.auc == pytest.approx(np.mean(wins))


def test_over_batches_and_workers_as_over_all():
    whole = measure((LOGITS, LABELS, DISPLAYS))
    halves = [(LOGITS[:5], LABELS[:5], DISPLAYS[:5]), (LOGITS[5:], LABELS[5:], DISPLAYS[5:] - 2)]
    assert measure(*halves) == pytest.approx(whole)
    other = EvalTotals()
    other.add(*halves[1])
    assert measure(halves[0], add_up=lambda vector: vector + other.as_vector()) == pytest.approx(whole)


def test_a_batch_without_rows_adds_nothing():
    empty = np.zeros(0)
    assert measure((LOGITS, LABELS, DISPLAYS), (empty, empty, empty)) == measure((LOGITS, LABELS, DISPLAYS))


def test_without_a_row_nothing_is_a_number():
    assert all(math.isnan(value) for value in vars_of(measure()))


def test_without_a_click_there_is_no_map():
    metrics = measure((np.array([0.5, 1.0]), np.array([0, 0]), np.array([0, 0])))
    assert [math.isnan(v) for v in (metrics.map_at_12, metrics.ndcg_at_12, metrics.auc, metrics.calibration)] == [True] * 4
    assert metrics.log_loss > 0


def test_extreme_logits_are_finite():
    assert measure((np.array([1e4, -1e4]), np.array([0, 1]), np.array([0, 0]))).log_loss == pytest.approx(1e4)


def test_a_nan_score_shows():
    assert math.isnan(measure((np.array([math.nan, 0.0]), np.array([0, 1]), np.array([0, 0]))).log_loss)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3), st.integers(0, 1)), min_size=1, max_size=40))
def test_map_is_the_evaluators(rows):
    displays, scores, labels = (np.array(c) for c in zip(*rows, strict=True))
    expected = mean_average_precision(displays, scores, labels).value
    assert measure((scores, labels, displays)).map_at_12 == pytest.approx(expected, nan_ok=True)


def vars_of(metrics):
    return [getattr(metrics, name) for name in metrics.__slots__]
