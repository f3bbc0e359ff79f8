import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.ctr import count_as_of, rate


def test_counts_see_only_train_rows_strictly_before():
    #            ad 7: view, click, (eval) click, then two rows of one moment; ad 8: one row
    group = np.array([7, 7, 7, 7, 7, 8])
    timestamp = np.array([10, 20, 30, 40, 40, 40])
    clicked = np.array([0, 1, 1, 1, 0, 1])
    is_history = np.array([True, True, False, True, True, True])
    clicks, views = count_as_of(group, timestamp, clicked, is_history)
    assert clicks.tolist() == [0, 0, 1, 1, 1, 0]
    assert views.tolist() == [0, 1, 2, 2, 2, 0]


def test_a_delay_hides_the_latest_clicks():
    clicks, views = count_as_of(np.zeros(3, int), np.array([0, 5, 10]), np.ones(3, int), np.ones(3, bool), delay_ms=5)
    assert views.tolist() == [0, 0, 1]
    assert clicks.tolist() == [0, 0, 1]


def test_no_rows():
    clicks, views = count_as_of(*(np.array([], int) for _ in range(3)), np.array([], bool))
    assert (len(clicks), len(views)) == (0, 0)


rows = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 12), st.integers(0, 1), st.booleans()), max_size=50)


@given(rows=rows, delay=st.integers(0, 6))
def test_as_of_counts_equal_brute_force(rows, delay):
    group, timestamp, clicked, is_history = (np.array(c, int) for c in zip(*rows, strict=True)) if rows else [np.array([], int)] * 4
    clicks, views = count_as_of(group, timestamp, clicked, is_history.astype(bool), delay)
    for i, (g, t, _, _) in enumerate(rows):
        before = [r for r in rows if r[3] and r[0] == g and r[1] < t - delay]
        assert views[i] == len(before)
        assert clicks[i] == sum(r[2] for r in before)


@given(rows=rows)
def test_no_row_sees_its_own_label(rows):
    """Flipping every label changes no row's own count by more than what others of earlier moments contribute."""
    if not rows:
        return
    group, timestamp, clicked, is_history = (np.array(c, int) for c in zip(*rows, strict=True))
    for i in range(len(rows)):
        flipped = clicked.copy()
        flipped[i] = 1 - flipped[i]
        before = count_as_of(group, timestamp, clicked, is_history.astype(bool))[0][i]
        assert count_as_of(group, timestamp, flipped, is_history.astype(bool))[0][i] == before


def test_rate_is_missing_at_or_under_the_threshold():
    value, missing = rate(np.array([0, 2, 3]), np.array([0, 5, 6]), np.zeros(3), prior_views=0, min_views=5)
    assert missing.tolist() == [True, True, False]
    assert value[2] == np.float32(0.5)


def test_smoothing_gives_the_prior_without_views():
    value, missing = rate(np.array([0, 10]), np.array([0, 10]), np.array([0.25, 0.25]), prior_views=10, min_views=-1)
    np.testing.assert_allclose(value, [0.25, 0.625])
    assert not missing.any()
