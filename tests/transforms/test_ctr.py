import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.ctr import count_as_of, rate, rate_confidence


def test_counts_see_only_train_rows_strictly_before():
    #            ad 7: view, click, (eval) click, then two rows of one moment; ad 8: one row
    group = np.array([7, 7, 7, 7, 7, 8])
    timestamp = np.array([10, 20, 30, 40, 40, 40])
    clicked = np.array([0, 1, 1, 1, 0, 1])
    is_history = np.array([True, True, False, True, True, True])
    counts = count_as_of(group, timestamp, clicked, is_history)
    assert counts.clicks.tolist() == [0, 0, 1, 1, 1, 0]
    assert counts.views.tolist() == [0, 1, 2, 2, 2, 0]


def test_a_delay_hides_the_latest_clicks():
    counts = count_as_of(np.zeros(3, int), np.array([0, 5, 10]), np.ones(3, int), np.ones(3, bool), delay_ms=5)
    assert counts.views.tolist() == [0, 0, 1]
    assert counts.clicks.tolist() == [0, 0, 1]


def test_seeing_all_counts_every_row_its_own_included():
    counts = count_as_of(np.array([1, 1, 2]), np.array([5, 1, 3]), np.array([1, 0, 1]), np.ones(3, bool), see_all=True)
    assert counts.clicks.tolist() == [1, 1, 1]
    assert counts.views.tolist() == [2, 2, 1]


def test_distinct_ads_and_mean_confidence():
    ad, confidence = np.array([7, 7, 8, 9]), np.array([0.5, 0.25, 0.75, 1.0])
    counts = count_as_of(np.zeros(4, int), np.arange(4), np.zeros(4, int), np.ones(4, bool), ad, confidence)
    assert counts.ads.tolist() == [0, 1, 1, 2]
    assert counts.confidence.tolist() == [0.0, 0.5, 0.375, 0.5]


def test_no_rows():
    counts = count_as_of(*(np.array([], int) for _ in range(3)), np.array([], bool))
    assert (len(counts.clicks), len(counts.views)) == (0, 0)


rows = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 12), st.integers(0, 1), st.booleans(), st.integers(0, 3)), max_size=50)


def columns(rows):
    return [np.array(c, int) for c in zip(*rows, strict=True)] if rows else [np.array([], int)] * 5


@given(rows=rows, delay=st.integers(0, 6), see_all=st.booleans())
def test_as_of_counts_equal_brute_force(rows, delay, see_all):
    group, timestamp, clicked, is_history, ad = columns(rows)
    counts = count_as_of(group, timestamp, clicked, is_history.astype(bool), ad, ad / 4, delay_ms=delay, see_all=see_all)
    for i, (g, t, _, _, _) in enumerate(rows):
        before = [r for r in rows if r[3] and r[0] == g and (see_all or r[1] < t - delay)]
        assert counts.views[i] == len(before)
        assert counts.clicks[i] == sum(r[2] for r in before)
        assert counts.ads[i] == len({r[4] for r in before})
        assert counts.confidence[i] == pytest.approx(sum(r[4] / 4 for r in before) / max(len(before), 1))


@given(rows=rows)
def test_no_row_sees_its_own_label(rows):
    group, timestamp, clicked, is_history, _ = columns(rows)
    for i in range(len(rows)):
        flipped = clicked.copy()
        flipped[i] = 1 - flipped[i]
        before = count_as_of(group, timestamp, clicked, is_history.astype(bool)).clicks[i]
        assert count_as_of(group, timestamp, flipped, is_history.astype(bool)).clicks[i] == before


def test_rate_without_a_prior_is_clicks_by_views():
    assert rate(np.array([0, 3]), np.array([0, 6]), np.array([0.2, 0.2]), 0.0).tolist() == [0.0, 0.5]


def test_smoothing_gives_the_prior_without_views():
    np.testing.assert_allclose(rate(np.array([0, 10]), np.array([0, 10]), np.array([0.25, 0.25]), 10), [0.25, 0.625])


def test_confidence_mixes_natural_and_binary_logarithms_and_jumps_to_one():
    np.testing.assert_allclose(rate_confidence(np.array([0, 1, 99_999, 100_000]), 100_000), [0, 0.0417321, 0.693147, 1], rtol=1e-4)
