"""How often the gate errs, over many pairs of models: good ones are blessed as often as said, bad ones are found out and named."""

import numpy as np
import pytest

from components.gate.comparison import compare
from components.gate.verdict import decide
from schemas.config import GateConfig
from tests.components.gate.made_up import average_precisions, evidence

PAIRS = 600
DEVIATIONS = 3.3  # of a binomial share: exceeded by chance once in a thousand
FIRST_FLOOR = {"min_gain_over_popularity": -1.0, "resamples": 1000}


def error(share, number):
    return DEVIATIONS * (share * (1 - share) / number) ** 0.5


def pairs(number, displays, seed=0):
    """Pairs of models that are equally good, on fresh displays each."""
    for i in range(number):
        yield average_precisions(np.random.default_rng((seed, i)), displays, 2)


@pytest.mark.parametrize(("confidence", "displays"), [(0.95, 500), (0.8, 500), (0.95, 100)])
def test_a_model_just_as_good_is_blessed_as_often_as_the_confidence_says(confidence, displays):
    gate = GateConfig(confidence=confidence, max_chance_loss=1.0, **FIRST_FLOOR)
    compared = [compare(own - blessed, gate) for own, blessed in pairs(2 * PAIRS, displays)]
    blessed = np.mean([one.lower >= -one.margin for one in compared])
    assert blessed == pytest.approx(confidence, abs=error(confidence, 2 * PAIRS))
    # Either bound holds as often as said, too: the true difference is 0.
    assert np.mean([one.lower <= 0 for one in compared]) == pytest.approx(confidence, abs=error(confidence, 2 * PAIRS) + 0.01)
    assert np.mean([one.upper >= 0 for one in compared]) == pytest.approx(confidence, abs=error(confidence, 2 * PAIRS) + 0.01)


def test_without_room_for_chance_most_models_just_as_good_are_refused():
    gate = GateConfig(max_chance_loss=0.0, **FIRST_FLOOR)
    compared = [compare(own - blessed, gate) for own, blessed in pairs(PAIRS, 500)]
    assert np.mean([one.lower >= -one.margin for one in compared]) == pytest.approx(0.05, abs=error(0.05, PAIRS))


def test_a_whole_verdict_blesses_a_model_just_as_good_about_as_often():
    """Slices may refuse it as well: together in 1 - confidence to 1 - confidence + slice_fdr of the cases."""
    gate = GateConfig(min_slice_displays=50, **FIRST_FLOOR)
    blessed = []
    for i, (own, other) in enumerate(pairs(PAIRS, 500)):
        rng = np.random.default_rng((9, i))
        slices = {"event_platform": rng.integers(1, 4, 500), "event_hour": rng.integers(0, 6, 500)}
        blessed.append(decide(evidence(own, other, slices), gate).blessed)
    assert gate.confidence - gate.slice_fdr - error(0.94, PAIRS) < np.mean(blessed) < gate.confidence + error(0.95, PAIRS)


def test_a_model_degraded_on_one_platform_only_is_refused_and_the_platform_named():
    """There it ranks at random, a tenth of all displays; elsewhere it gained as much, so the mean over all says nothing."""
    gate, named, alone, hidden = GateConfig(**FIRST_FLOOR), [], [], []
    for i, (own, other) in enumerate(pairs(60, 3000, seed=1)):
        rng = np.random.default_rng((8, i))
        platform = rng.choice([1, 2, 3], 3000, p=[0.5, 0.4, 0.1])
        state = rng.integers(0, 12, 3000)
        better = np.where(rng.random(3000) < 0.05, 1.0, own)
        degraded = np.where(platform == 3, 1.0 / rng.integers(1, 7, 3000), better)
        verdict = decide(evidence(degraded, other, {"event_platform": platform, "state": state}), gate)
        worse = [one.slice for one in verdict.slices if one.significant]
        named.append(not verdict.blessed and "event_platform=3 (by 0." in " ".join(verdict.reasons))
        alone.append(worse == ["event_platform=3"])
        hidden.append(all(check.passed for check in verdict.checks if check.name != "worse_slices"))
    assert np.mean(named) > 0.95
    assert np.mean(alone) > 0.9
    assert np.mean(hidden) > 0.9
