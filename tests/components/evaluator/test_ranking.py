"""Every measure of a ranking against its definition, averaged over all orders that agree with the scores."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluator.ranking import aucs, average_precisions, group, normalized_dcgs, rank, reciprocal_ranks


def ndcg_of_order(labels, k):
    gains = [1 / math.log2(1 + rank) for rank in range(1, len(labels) + 1)]
    best = sum(sorted((g for g in gains[:k]), reverse=True)[: sum(labels)])
    return sum(gain for gain, label in zip(gains[:k], labels, strict=False) if label) / best


def reciprocal_rank_of_order(labels, _):
    return 1 / (labels.index(1) + 1)


def auc_of_order(labels, _):
    pairs = [(i, j) for i, a in enumerate(labels) for j, b in enumerate(labels) if a and not b]
    return sum(i < j for i, j in pairs) / len(pairs) if pairs else math.nan


def over_all_orders(measure, scores, labels, k):
    """Mean over the orders of the ads that agree with the scores, NaN behind everything."""
    keys = [(-math.inf, 0) if math.isnan(s) else (s, 1) for s in scores]
    orders = [o for o in itertools.permutations(range(len(keys))) if all(keys[a] >= keys[b] for a, b in itertools.pairwise(o))]
    return sum(measure([labels[i] for i in order], k) for order in orders) / len(orders)


def one(measure, scores, labels):
    (value,) = measure(rank(group(np.zeros(len(labels), int), labels), np.array(scores, float)))
    return value


@pytest.mark.parametrize(
    ("scores", "labels", "ndcg", "mrr", "auc"),
    [
        pytest.param([3, 2, 1], [0, 1, 0], 1 / math.log2(3), 1 / 2, 1 / 2, id="second of three"),
        pytest.param([1, 1, 1], [0, 1, 0], (1 + 1 / math.log2(3) + 1 / 2) / 3, 11 / 18, 1 / 2, id="three tied"),
        pytest.param([3, 2, 1], [1, 0, 1], (1 + 1 / 2) / (1 + 1 / math.log2(3)), 1, 1 / 2, id="first and third"),
        # Two clicks among three tied ads: no click at place 1 with probability 1/3, and then there is one at place 2.
        pytest.param([1, 1, 1], [1, 0, 1], None, 2 / 3 * 1 + 1 / 3 / 2, 1 / 2, id="two of three tied"),
        pytest.param([math.nan, 1, 2], [1, 0, 0], 1 / 2, 1 / 3, 0, id="NaN is last"),
        pytest.param([1, 2], [1, 1], 1, 1, math.nan, id="nothing but clicks"),
        pytest.param([1, 2], [0, 0], math.nan, math.nan, math.nan, id="no click"),
    ],
)
def test_by_hand(scores, labels, ndcg, mrr, auc):
    if ndcg is not None:
        assert one(normalized_dcgs, scores, labels) == pytest.approx(ndcg, rel=1e-14, nan_ok=True)
    assert one(reciprocal_ranks, scores, labels) == pytest.approx(mrr, rel=1e-14, nan_ok=True)
    assert one(aucs, scores, labels) == pytest.approx(auc, rel=1e-14, nan_ok=True)


def test_ranks_beyond_k_count_for_the_reciprocal_rank_alone():
    scores, labels = np.arange(14, 0, -1), [0] * 12 + [1, 0]
    assert one(average_precisions, scores, labels) == one(normalized_dcgs, scores, labels) == 0
    assert one(reciprocal_ranks, scores, labels) == 1 / 13


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, math.nan, -math.inf]), st.integers(0, 1)), min_size=1, max_size=6),
    st.integers(1, 7),
)
def test_each_equals_the_mean_over_all_orders(ads, k):
    scores, labels = (list(column) for column in zip(*ads, strict=True))
    ranking = rank(group(np.zeros(len(labels), int), labels), np.array(scores))
    for got, measure in (
        (normalized_dcgs(ranking, k), ndcg_of_order),
        (reciprocal_ranks(ranking), reciprocal_rank_of_order),
        (aucs(ranking), auc_of_order),
    ):
        expected = over_all_orders(measure, scores, labels, k) if any(labels) else math.nan
        assert got[0] == pytest.approx(expected, rel=1e-12, nan_ok=True)


@given(st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_many_displays_in_any_order_equal_one_by_one(displays, seed):
    rng = np.random.default_rng(seed)
    display = rng.integers(0, max(displays, 1), 5 * displays)
    scores = rng.integers(0, 4, len(display)) / 4
    scores[rng.random(len(display)) < 0.1] = np.nan
    labels = rng.random(len(display)) < 0.3
    grouped = group(display, labels)
    assert grouped.ids.tolist() == sorted(set(display))
    for measure in (average_precisions, normalized_dcgs, reciprocal_ranks, aucs):
        values = measure(rank(grouped, scores))
        for place, of_display in enumerate(display == d for d in grouped.ids):
            assert values[place] == pytest.approx(one(measure, scores[of_display], labels[of_display]), rel=1e-14, nan_ok=True)


def test_one_grouping_serves_many_rankings():
    grouped = group([7, 7, 3, 3], [1, 0, 0, 1])
    np.testing.assert_array_equal(average_precisions(rank(grouped, [2, 1, 2, 1])), [1 / 2, 1])  # display 3, display 7
    np.testing.assert_array_equal(average_precisions(rank(grouped, [1, 2, 1, 2])), [1, 1 / 2])


@pytest.mark.parametrize("measure", [average_precisions, normalized_dcgs])
def test_k_must_be_positive(measure):
    with pytest.raises(ValueError, match=r"k must be positive\. Received: 0"):
        measure(rank(group([1], [1]), [0.5]), 0)


def test_as_many_scores_as_rows():
    with pytest.raises(ValueError, match=r"one score a row. Received: shape \(2,\) for 1 rows"):
        rank(group([1], [1]), [0.5, 0.5])
