"""Slices of displays, and what is tested of them."""

import numpy as np
import pytest

from components.gate.comparison import compare, compare_slices, estimate
from schemas.config import GateConfig
from tests.components.gate.made_up import displays

GATE = GateConfig(min_slice_displays=2, resamples=1000)


def compared(columns, difference, slices, gate=GATE):
    table = displays([1.0] * len(difference), slices=slices)
    found = compare_slices(table, np.array(difference, float), columns, gate)
    return {one.slice: (one.displays, pytest.approx(one.difference)) for one in found}


def test_slices_by_hand():
    slices = {"platform": [1, 1, 2, 2, None, 3], "country": ["US", "GB", "US", "US", "US", "US"]}
    difference = [0.5, -0.5, 0.25, 0.75, 0.0, 0.1]
    assert compared([("platform",)], difference, slices) == {"platform=1": (2, 0.0), "platform=2": (2, 0.5)}
    assert compared([("platform",), ("country",)], difference, slices, GateConfig(min_slice_displays=3, resamples=1000)) == {
        "country=US": (5, 1.6 / 5)
    }
    assert compared([("country", "platform")], difference, slices) == {"country=US, platform=2": (2, 0.5)}


def test_crossed_slices_are_told_apart():
    """(1, 12) and (11, 2) would be one if values were only put side by side."""
    slices = {"a": ["1", "1", "11", "11"], "b": ["12", "12", "2", "2"]}
    assert compared([("a", "b")], [0.0, 0.0, 1.0, 1.0], slices) == {"a=1, b=12": (2, 0.0), "a=11, b=2": (2, 1.0)}


@pytest.mark.parametrize("values", [[None] * 4, [1, 2, 3, 4]])
def test_no_slice_with_enough_displays(values):
    assert compared([("platform",)], [0.0] * 4, {"platform": values}) == {}


def test_no_displays_no_slices():
    assert compared([("platform",)], [], {"platform": []}) == {}


def test_a_slice_does_not_depend_on_the_others():
    rng = np.random.default_rng(0)
    slices = {"platform": rng.integers(0, 3, 900), "hour": rng.integers(0, 4, 900)}
    difference = rng.choice([-0.5, 0.0, 0.5], 900)
    table = displays([1.0] * 900, slices=slices)
    alone = compare_slices(table, difference, [("hour",)], GATE)
    among = [one for one in compare_slices(table, difference, [("platform",), ("hour",)], GATE) if one.slice.startswith("hour")]
    assert [(a.slice, a.lower, a.upper, a.p_value) for a in alone] == [(b.slice, b.lower, b.upper, b.p_value) for b in among]


def test_the_most_doubtful_slice_is_first_and_false_ones_are_corrected_for():
    # 40 slices of 100 displays without a difference, one with.
    rng = np.random.default_rng(3)
    state = np.repeat(np.arange(41), 100)
    difference = np.where(state == 7, rng.choice([-0.5, 0.5], 4100, p=[0.85, 0.15]), rng.choice([-0.5, 0.5], 4100))
    found = compare_slices(displays([1.0] * 4100, slices={"state": state}), difference, [("state",)], GATE)
    assert [one.slice for one in found if one.significant] == ["state=7"]
    assert found[0].slice == "state=7"
    assert sum(one.p_value < 0.05 for one in found) > 1
    assert [one.p_value for one in found] == sorted(one.p_value for one in found)


def test_margin_is_the_larger_of_what_is_allowed_and_what_may_be_chance():
    difference = np.random.default_rng(0).choice([-0.5, 0.0, 0.5], 1000)  # error 0.0129
    by_chance = compare(difference, GATE)
    assert by_chance.margin == by_chance.chance_loss == pytest.approx(2 * 1.645 * 0.0129, rel=0.1)
    assert by_chance.detectable_difference == pytest.approx((1.645 + 0.842) * 0.0129, rel=0.02)
    for gate, margin in (({"max_loss_to_blessed": 0.1}, 0.1), ({"max_chance_loss": 0.01}, 0.01), ({"max_chance_loss": 0.0}, 0.0)):
        assert compare(difference, GateConfig(resamples=1000, **gate)).margin == margin


def test_estimate_is_the_mean_with_its_bounds():
    found = estimate([1.0, 0.5] * 200, GATE)
    assert found.value == 0.75
    assert (found.value - found.lower, found.upper - found.value) == pytest.approx((1.645 * 0.25 / 20,) * 2, rel=0.15)
    assert (found.displays, found.confidence) == (400, 0.95)
