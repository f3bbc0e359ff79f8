"""The conditions for a model to go out, one function each: a number, what it must be, and a sentence that says so."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluator.names import CALIBRATION, LOG_LOSS, MAP_AT_12, MAP_AT_12_POPULARITY, displays_key
from components.evaluator.results import Metrics
from components.gate.comparison import Comparison, SliceComparison
from schemas.config import GateConfig

_ROUNDING = 1e-12
"""MAPs are sums of up to millions of float64; a bound that is met but for rounding is met."""

_NAMED = 5
"""Of more slices or features than this, a sentence gives the number only."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition for a model to go out.

    Attributes:
        name: What is checked.
        value: What was measured; may be NaN.
        at_least: What `value` must at least be; None if it may be as low as it likes.
        at_most: What `value` may at most be; None if it may be as high as it likes.
        passed: Whether it is between them, or else what `sentence` says.
        sentence: All of that, for people.
    """

    name: str
    value: float
    at_least: float | None
    at_most: float | None
    passed: bool
    sentence: str


def eval_displays(metrics: Metrics) -> Check:
    """At least one eval display has a click."""
    displays = metrics.get(displays_key(MAP_AT_12), 0.0)
    sentence = f"MAP@12 is over {displays:,.0f} eval displays." if displays >= 1 else "No eval display has a click to judge by."
    return Check("eval_displays", displays, 1.0, None, displays >= 1, sentence)


def finite_scores(metrics: Metrics) -> Check:
    """All scores are numbers: one that is none only ranks last in MAP@12, but shows in the log loss."""
    finite = math.isfinite(metrics.get(LOG_LOSS, math.nan))
    sentence = "All scores are numbers." if finite else "The model gives scores that are not numbers."
    return Check("finite_scores", float(finite), 1.0, None, finite, sentence)


def gain_over_popularity(metrics: Metrics, gate: GateConfig) -> Check:
    """MAP@12 is above the popularity ranking's by a margin."""
    own, other = metrics.get(MAP_AT_12, math.nan), metrics.get(MAP_AT_12_POPULARITY, math.nan)
    name, gain, bound = "gain_over_popularity", own - other, gate.min_gain_over_popularity
    if not math.isfinite(gain):
        return Check(name, gain, bound, None, False, _not_a_number(own, "popularity ranking"))
    relation = f"{abs(gain):.6f} {_side(gain)} the popularity ranking's {other:.6f}"
    demand = f"it must be at least {bound:g} above" if bound >= 0 else f"it may be at most {-bound:g} below"
    return Check(name, gain, bound, None, gain >= bound - _ROUNDING, f"MAP@12 {own:.6f} is {relation}; {demand}.")


def blessed_model(problem: str, gate: GateConfig) -> Check:
    """The latest blessed model can be judged: one that cannot must not be taken for one that is not there."""
    allowed = gate.allow_unjudged_blessed
    advice = "allowed by" if allowed else "to let a model out as the first one is, set"
    sentence = f"No comparison with {problem} ({advice} gate.allow_unjudged_blessed)."
    return Check("blessed_model", math.nan, None, None, allowed, sentence)


def loss_to_blessed(metrics: Metrics, blessed: Metrics, comparison: Comparison | None, gate: GateConfig) -> Check:
    """The lower confidence bound of the difference to the blessed model is not below the margin (`Comparison.margin`)."""
    name, own, other = "loss_to_blessed", metrics.get(MAP_AT_12, math.nan), blessed.get(MAP_AT_12, math.nan)
    if comparison is None or not math.isfinite(own - other):
        return Check(name, math.nan, -gate.max_loss_to_blessed, None, False, _not_a_number(own, "blessed model"))
    lower, margin = comparison.lower, comparison.margin
    passed = lower >= -margin - _ROUNDING
    relation = f"{abs(comparison.difference):.6f} {_side(comparison.difference)} the blessed model's {other:.6f}"
    surely = f"at {gate.confidence:.{_decimals(gate.confidence)}%} confidence at worst {abs(lower):.6f} {_side(lower)}"
    chance = f"{comparison.chance_loss:.6f} below may be chance on {comparison.displays:,} displays"
    if margin <= gate.max_loss_to_blessed:
        demand = f"it may be {margin:g} below" if margin else "it must not be below"
    elif margin < comparison.chance_loss:
        demand = f"{chance}, and {margin:g} is let pass"
    else:
        demand = chance
    return Check(name, lower, -margin, None, passed, f"MAP@12 {own:.6f} is {relation}, {surely}; {demand}.")


def slices(tested: Sequence[SliceComparison], gate: GateConfig) -> Check:
    """No slice is significantly worse than the blessed model's."""
    worse = [one for one in tested if one.significant]
    what = f"of {len(tested)} slices with at least {gate.min_slice_displays:,} displays"
    if not tested:
        sentence = f"No slice has the {gate.min_slice_displays:,} displays that a test of it needs."
    elif not worse:
        sentence = f"None {what} is significantly worse than with the blessed model."
    else:
        named = ", ".join(
            f"{one.slice} (by {-one.difference:.6f} on {one.displays:,} displays, adjusted p {one.adjusted_p_value:.2g})"
            for one in worse[:_NAMED]
        )
        more = f" and {len(worse) - _NAMED} more" if len(worse) > _NAMED else ""
        sentence = f"Significantly worse than with the blessed model, {len(worse)} {what}: {named}{more}."
    return Check("worse_slices", float(len(worse)), None, 0.0, not worse, sentence)


def calibration(metrics: Metrics, gate: GateConfig) -> Check:
    """The mean score over the share of clicks is within bounds."""
    name, value, low, high = "calibration", metrics.get(CALIBRATION, math.nan), gate.min_calibration, gate.max_calibration
    bounds = f"it must be at least {low:g}" if high is None else f"it must be from {low:g} to {high:g}"
    if not math.isfinite(value):
        return Check(name, value, low, high, False, f"The model's calibration is not a number; {bounds}.")
    passed = value >= low - _ROUNDING and (high is None or value <= high + _ROUNDING)
    return Check(name, value, low, high, passed, f"The mean score is {value:.3f} times the share of clicks; {bounds}.")


def audit(found: Mapping[str, Any] | None) -> Check:
    """The leak audit failed no feature; it says so where there was none."""
    name = "leaking_features"
    if found is None:
        return Check(name, math.nan, None, 0.0, True, "Features were not audited for leaks, as audit.in_pipeline says.")
    if found["history"] == "all":
        sentence = "Every row sees its own label, as features.history=all says."
        return Check(name, math.nan, None, 0.0, False, sentence)
    probed = [probe for probe in found["probes"] if probe["verdict"] != "n/a"]
    failed = [probe for probe in probed if probe["verdict"] == "FAIL"]
    if not probed:
        return Check(name, math.nan, None, 0.0, False, "No feature could be audited for leaks: a split lacks clicks or other rows.")
    if not failed:
        return Check(name, 0.0, None, 0.0, True, f"The audit of {len(probed)} features found no leak.")
    named = ", ".join(f"{p['feature']} (AUC gap {p['gap']:.4f}, allowed {p['allowed']:.4f})" for p in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    sentence = f"The audit found {len(failed)} of {len(probed)} features that know their own rows' labels: {named}{more}."
    return Check(name, float(len(failed)), None, 0.0, False, sentence)


def replay_skew(skew: float, gate: GateConfig) -> Check:
    """The exported model scores raw Examples as the trained one scored what was made of them."""
    name, bound = "replay_skew", gate.max_replay_skew
    if not math.isfinite(skew):
        sentence = "It is not known how far the exported model's scores are from the trained one's: train it again."
        return Check(name, skew, None, bound, False, sentence)
    sentence = f"Scores of the exported model differ from the trained one's by at most {skew:.1e}; {bound:g} is allowed."
    return Check(name, skew, None, bound, skew <= bound, sentence)


def _not_a_number(own: float, rival: str) -> str:
    return f"MAP@12 of the {rival if math.isfinite(own) else 'model'} is not a number."


def _side(difference: float) -> str:
    return "above" if difference >= 0 else "below"


def _decimals(share: float) -> int:
    return 0 if abs(share * 100 - round(share * 100)) < 1e-9 else 1
