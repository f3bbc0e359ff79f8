import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluator.average_precision import average_precision, average_precisions, mean_average_precision


def ap_of_order(labels, k):
    """The definition, for ads that are in order."""
    hits, total = 0, 0.0
    for rank, label in enumerate(labels[:k], 1):
        if label:
            hits += 1
            total += hits / rank
    return total / min(k, sum(labels))


def brute_force(scores, labels, k):
    """Mean over all orders of the ads that agree with the scores, NaN behind everything."""
    scores = [(-math.inf, 0) if math.isnan(s) else (s, 1) for s in scores]
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    return sum(ap_of_order([labels[i] for i in order], k) for order in orders) / len(orders)


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        pytest.param([0.6, 0.8, 0.2], [1, 0, 0], 1 / 2, id="second"),
        pytest.param([0.3], [1], 1.0, id="one ad"),
        pytest.param([0.3, 0.3], [1, 0], 3 / 4, id="two tied"),
        pytest.param([0.9, 0.3, 0.3, 0.3], [0, 0, 1, 0], (1 / 2 + 1 / 3 + 1 / 4) / 3, id="tied block behind another ad"),
        pytest.param([math.nan, 0.1], [1, 0], 1 / 2, id="NaN ranks last"),
        pytest.param([math.nan, -math.inf], [1, 0], 1 / 2, id="NaN ranks behind minus infinity"),
        pytest.param([math.nan, math.nan], [1, 0], 3 / 4, id="NaNs tie"),
        pytest.param([0.0, -0.0], [1, 0], 3 / 4, id="both zeros tie"),
        pytest.param(np.arange(14, 0, -1), [0] * 11 + [1, 0, 0], 1 / 12, id="twelfth of 14"),
        pytest.param(np.arange(14, 0, -1), [0] * 12 + [1, 0], 0.0, id="thirteenth of 14"),
        pytest.param([3, 2, 1], [1, 0, 1], (1 + 2 / 3) / 2, id="two clicks"),
        pytest.param(range(13, 0, -1), [1] * 13, 1.0, id="more clicks than ranks"),
    ],
)
def test_average_precision(scores, labels, expected):
    assert average_precision(scores, labels) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("ads", range(1, 13))
def test_a_constant_score_is_worth_a_random_order(ads):
    harmonic = sum(1 / i for i in range(1, ads + 1))
    assert average_precision(np.full(ads, 0.7), [1] + [0] * (ads - 1)) == pytest.approx(harmonic / ads, rel=1e-14)


def test_ties_across_the_last_rank_that_counts():
    # 15 tied ads: the clicked one is at each rank with probability 1/15, and ranks 13 to 15 give nothing.
    assert average_precision(np.zeros(15), [0] * 14 + [1]) == pytest.approx(sum(1 / i for i in range(1, 13)) / 15, rel=1e-14)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, math.nan, -math.inf]), st.integers(0, 1)), min_size=1, max_size=6),
    st.integers(1, 7),
)
def test_equals_the_mean_over_all_orders(ads, k):
    scores, labels = zip(*ads, strict=True)
    got = average_precision(scores, labels, k)
    if not any(labels):
        assert math.isnan(got)
    else:
        assert got == pytest.approx(brute_force(scores, labels, k), rel=1e-12)


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_many_displays_equal_one_by_one(displays, seed):
    rng = np.random.default_rng(seed)
    display = rng.integers(0, displays, 5 * displays)
    scores = rng.integers(0, 4, len(display)) / 4
    scores[rng.random(len(display)) < 0.1] = np.nan
    labels = rng.random(len(display)) < 0.3
    ids, values = average_precisions(display, scores, labels)
    assert ids.tolist() == sorted(set(display))
    for one, value in zip(ids, values, strict=True):
        of_display = display == one
        assert value == pytest.approx(average_precision(scores[of_display], labels[of_display]), rel=1e-14, nan_ok=True)


@given(st.permutations(range(8)))
def test_row_order_does_not_matter(order):
    display = np.array([1, 1, 1, 2, 2, 3, 3, 3])[order]
    scores = np.array([0.1, 0.1, 0.5, 0.2, 0.2, 0.9, np.nan, 0.1])[order]
    labels = np.array([1, 0, 0, 0, 1, 1, 0, 0])[order]
    assert mean_average_precision(display, scores, labels).value == pytest.approx(((1 / 2 + 1 / 3) / 2 + 3 / 4 + 1) / 3)


def test_displays_without_click_are_left_out_and_counted():
    got = mean_average_precision([1, 1, 2, 2, 3], [0.1, 0.2, 0.5, 0.1, 0.3], [1, 0, 0, 0, 0])
    assert (got.value, got.displays, got.displays_without_click) == (0.5, 1, 2)


def test_no_rows():
    got = mean_average_precision([], [], [])
    assert math.isnan(got.value)
    assert (got.displays, got.displays_without_click) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 1], [0.5], [1, 0]), "one score a row. Received: shape"),
        (([[1]], [[0.5]], [[1]]), "one-dimensional"),
        (([1], [0.5], [1], 0), "k must be positive. Received: 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        average_precisions(*arguments)
