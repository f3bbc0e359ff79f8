"""Resampling: what can be computed by hand, and the same numbers from displays that are drawn one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gate import bootstrap
from components.gate.bootstrap import adjust_p_values, detectable_difference, resample_mean

values = st.lists(st.sampled_from([-0.5, -1 / 6, 0.0, 1 / 3, 1.0]), min_size=1, max_size=30)


def drawn_one_by_one(values, resamples, seed):
    """The definition of the bootstrap: displays drawn with replacement."""
    rng = np.random.default_rng(seed)
    return np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(resamples)])


@pytest.mark.parametrize("displays", [12, 700])
def test_resamples_are_distributed_as_those_of_displays_drawn_one_by_one(displays):
    rng = np.random.default_rng(1)
    difference = rng.choice([0.0, 0.5, -0.5, 1 / 6, -2 / 3], displays, p=[0.7, 0.1, 0.1, 0.05, 0.05])
    fast = resample_mean(difference, 20_000, 2)
    slow = np.sort(drawn_one_by_one(difference, 20_000, 3))
    # Kolmogorov-Smirnov: two samples of 20,000 of one distribution are this far apart once in 10,000.
    at = np.linspace(slow[0], slow[-1], 400)
    apart = np.abs(np.searchsorted(fast.means, at, side="right") - np.searchsorted(slow + 1e-13, at, side="right")) / 20_000
    assert apart.max() < 2.225 * (2 / 20_000) ** 0.5
    assert fast.error == pytest.approx(difference.std() / displays**0.5, rel=1e-9)
    assert fast.means.std() == pytest.approx(fast.error, rel=0.03)


def test_two_displays_by_hand():
    # The mean of two draws of 0 and 1 is 0, 1/2, 1/2 or 1.
    found = resample_mean([0.0, 1.0], 40_000, 0)
    shares = [np.isclose(found.means, value).mean() for value in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    assert (found.mean, found.error, found.displays) == (0.5, pytest.approx(0.5 / 2**0.5), 2)
    assert (found.lower(0.9), found.upper(0.9), found.lower(0.6)) == (0.0, 1.0, 0.5)
    assert found.p_value_below(0.5) == pytest.approx(0.75, abs=0.01)  # shifted to 1/2, three of four are at most 1/2


def test_a_mean_that_cannot_change():
    found = resample_mean(np.full(1001, 1 / 3), 1000, 0)
    assert found.lower(0.99) == found.mean == found.upper(0.99)
    assert found.p_value_below(found.mean) == 1.0
    assert resample_mean(np.zeros(5), 10, 0).lower(0.95) == 0.0


@given(values, st.integers(0, 2**32))
@settings(deadline=None)
def test_bounds_hold_whatever_the_values(values, seed):
    found = resample_mean(values, 200, seed)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert min(values) - 1e-9 <= found.means[0] <= found.lower(0.9) <= found.upper(0.9) <= found.means[-1] <= max(values) + 1e-9
    assert 0 < found.p_value_below(-0.1) <= found.p_value_below(-0.2) <= 1
    assert np.array_equal(resample_mean(values[::-1], 200, seed).means, found.means)  # the order of the displays is nothing


@given(values, st.integers(0, 1000))
@settings(deadline=None)
def test_many_distinct_values_go_in_chunks(values, seed):
    whole = resample_mean(values, 50, seed)
    chunk, bootstrap._CHUNK = bootstrap._CHUNK, 7
    try:
        assert np.allclose(resample_mean(values, 50, seed).means, whole.means, atol=1e-15)
    finally:
        bootstrap._CHUNK = chunk


@pytest.mark.parametrize(("lost", "p"), [(3, 0.084), (5, 0.032), (8, 0.008)])
def test_few_displays_that_differ(lost, p):
    """Of k equal losses among many displays, a shifted resample is as low if the Poisson number of them drawn is 2 k or more."""
    difference = np.zeros(5000)
    difference[:lost] = -0.5
    assert resample_mean(difference, 100_000, 0).p_value_below(0.0) == pytest.approx(p, abs=0.003)


def test_p_values_are_not_limited_by_the_number_of_resamples():
    found = resample_mean(np.r_[np.full(500, -0.5), np.full(300, 0.5), np.zeros(200)], 1000, 0)
    assert found.means[-1] < 0
    assert found.p_value_below(0.0) == pytest.approx(1.3e-13, rel=0.05)  # z = -0.2 / (0.76 / 1000) ** 0.5 = -7.25
    assert resample_mean(np.full(100, -0.1), 1000, 0).p_value_below(0.0) == 1 / 1001  # no error to divide by


def test_p_values_of_no_difference_are_uniform():
    rng = np.random.default_rng(0)
    p = [resample_mean(rng.choice([-0.5, 0.0, 0.5], 300, p=[0.2, 0.6, 0.2]), 1000, i).p_value_below(0.0) for i in range(2000)]
    for level in (0.01, 0.05, 0.5):
        assert abs(np.mean(np.array(p) < level) - level) < 3.3 * (level * (1 - level) / 2000) ** 0.5 + 0.01 * (level == 0.5)


def test_detectable_difference_by_hand():
    assert detectable_difference(0.01, 0.95, 0.8) == pytest.approx(0.01 * (1.6449 + 0.8416), abs=1e-6)
    assert detectable_difference(0.0, 0.95, 0.8) == 0.0


def test_a_detectable_difference_is_detected_as_often_as_said():
    rng = np.random.default_rng(5)
    spread = 0.6**0.5 * 0.5
    loss = detectable_difference(spread / 400**0.5, 0.95, 0.8)
    lost = 0.3 + loss  # P(-1/2) - P(1/2) = 2 * loss moves the mean by `loss`
    found = 0
    for i in range(1500):
        difference = rng.choice([-0.5, 0.5, 0.0], 400, p=[lost, 0.3 - loss, 0.4])
        found += resample_mean(difference, 500, i).p_value_below(0.0) < 0.05
    assert found / 1500 == pytest.approx(0.8, abs=0.035)


@pytest.mark.parametrize("bad", [[], [[0.1]], [0.1, np.nan], [np.inf]])
def test_values_that_cannot_be_resampled(bad):
    with pytest.raises(ValueError, match="Received"):
        resample_mean(bad, 10, 0)


def test_adjusted_p_values_by_hand():
    # Sorted 0.01 0.02 0.03 0.5; times 4/1, 4/2, 4/3, 4/4: 0.04 0.04 0.04 0.5.
    assert adjust_p_values([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.04, 0.5, 0.04, 0.04])
    assert adjust_p_values([0.9]) == pytest.approx([0.9])
    assert len(adjust_p_values([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.5))
def test_adjusted_p_values_reject_what_the_step_up_procedure_rejects(p_values, q):
    m = len(p_values)
    ranked = sorted(p_values)
    largest = max((p for i, p in enumerate(ranked, 1) if p * m / i <= q), default=-1.0)
    assert (adjust_p_values(p_values) <= q).tolist() == [p <= largest for p in p_values]
