import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tables import DAY
from transforms.asked import NOTHING_ASKED, latest_asked, may_matter, slots_of

MINUTE = 60_000


def arrays(pairs):
    return np.array([user for user, _ in pairs], np.int64), np.array([time for _, time in pairs], np.int64)


def test_only_views_up_to_the_minute_of_the_users_last_display_matter():
    asked = latest_asked(*arrays([(7, 10 * MINUTE), (7, 3 * MINUTE), (8, 5)]), see_all=False)
    assert asked.to_pylist() == [{"user": 7, "minute": 11}, {"user": 8, "minute": 1}]
    views = [(7, 0), (7, 11 * MINUTE - 1), (7, 11 * MINUTE), (8, MINUTE - 1), (8, MINUTE), (9, 0)]
    assert may_matter(slots_of(asked), *arrays(views)).tolist() == [True, True, False, True, False, False]


def test_if_all_is_seen_any_view_of_a_user_with_a_display_matters():
    slots = slots_of(latest_asked(*arrays([(7, 0)]), see_all=True))
    assert may_matter(slots, *arrays([(7, 0), (7, 14 * DAY), (9, 0)])).tolist() == [True, True, False]


def test_without_displays_no_view_matters():
    assert may_matter(slots_of(NOTHING_ASKED), *arrays([(1, 0), (2, 5)])).tolist() == [False, False]


PAIRS = st.lists(st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 60 * DAY)), min_size=1, max_size=40)


@settings(deadline=None)
@given(PAIRS, st.integers(1, 4))
def test_a_view_at_or_before_a_display_of_its_user_always_matters(pairs, parts):
    asked = pa.concat_tables(latest_asked(*arrays(pairs[i::parts]), see_all=False) for i in range(parts))
    assert may_matter(slots_of(asked), *arrays(pairs)).all()


@pytest.mark.parametrize("n", [1, 1000])
def test_few_views_of_other_users_pass(n):
    rng = np.random.default_rng(0)
    slots = slots_of(latest_asked(rng.integers(1 << 56, size=n), np.full(n, DAY), see_all=False))
    others = rng.integers(1 << 56, size=10_000)
    assert may_matter(slots, others, np.zeros(10_000, np.int64)).mean() < 0.2
