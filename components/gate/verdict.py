"""The rule by which a model may go out, as a pure function of two sets of metrics."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from components.evaluator.eval_config import MAP_AT_12, MAP_AT_12_POPULARITY
from schemas.config import GateConfig

_DISPLAYS = f"{MAP_AT_12}_displays"
_LOG_LOSS = "log_loss"
_ROUNDING = 1e-12
"""MAPs are sums of up to millions of float64; a bound that is met but for rounding is met."""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition for a model to go out.

    Attributes:
        name: What is checked.
        value: What was measured; may be NaN.
        bound: What `value` must at least be.
        passed: Whether it is.
        sentence: All of that, for people.
    """

    name: str
    value: float
    bound: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided, and on what grounds.

    Attributes:
        blessed: Whether the model may go out: every check passed.
        checks: Every check that was made, passed or not.
    """

    blessed: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the checks that decided: the failed ones of a refused model, all of a blessed one."""
        return tuple(check.sentence for check in self.checks if self.blessed or not check.passed)

    def to_json(self) -> str:
        """Renders the verdict as strict JSON; what is not a finite number becomes null."""
        checks = [{k: _finite_or_none(v) for k, v in asdict(check).items()} for check in self.checks]
        return json.dumps({"blessed": self.blessed, "reasons": self.reasons, "checks": checks}, indent=2, allow_nan=False)


def decide(metrics: Mapping[str, float], blessed_metrics: Mapping[str, float] | None, gate: GateConfig) -> Verdict:
    """Decides whether a model may go out.

    Blessed is a model that was evaluated on at least one display with a click, whose scores are numbers, whose MAP@12 exceeds
    that of the popularity ranking by at least `gate.min_gain_over_popularity`, and is at most `gate.max_loss_to_blessed` below
    that of the latest blessed model on the same displays, if there is one. A metric that is missing or not a finite number fails
    its check.

    Args:
        metrics: Overall metrics of the model, by name.
        blessed_metrics: Overall metrics of the latest blessed model; None if there is none.
        gate: The bounds.
    """
    checks = tuple(_checks(metrics, blessed_metrics, gate))
    return Verdict(all(check.passed for check in checks), checks)


def _checks(metrics: Mapping[str, float], blessed_metrics: Mapping[str, float] | None, gate: GateConfig) -> Iterator[Check]:
    displays = metrics.get(_DISPLAYS, 0.0)
    sentence = f"MAP@12 is over {displays:,.0f} eval displays." if displays >= 1 else "No eval display has a click to judge by."
    yield Check("eval_displays", displays, 1.0, displays >= 1, sentence)

    # A NaN score only ranks last in MAP@12, but shows in the log loss.
    finite = math.isfinite(metrics.get(_LOG_LOSS, 0.0))
    sentence = "All scores are numbers." if finite else "The model gives scores that are not numbers."
    yield Check("finite_scores", float(finite), 1.0, finite, sentence)

    own = metrics.get(MAP_AT_12, math.nan)
    popularity = metrics.get(MAP_AT_12_POPULARITY, math.nan)
    yield _compare("gain_over_popularity", own, popularity, "popularity ranking", gate.min_gain_over_popularity)
    if blessed_metrics is not None:
        blessed = blessed_metrics.get(MAP_AT_12, math.nan)
        yield _compare("gain_over_blessed", own, blessed, "blessed model", -gate.max_loss_to_blessed)


def _compare(name: str, own: float, other: float, rival: str, bound: float) -> Check:
    gain = own - other
    if not math.isfinite(own):
        return Check(name, gain, bound, False, "MAP@12 of the model is not a number.")
    if not math.isfinite(other):
        return Check(name, gain, bound, False, f"MAP@12 of the {rival} is not a number.")
    relation = f"{abs(gain):.6f} {'above' if gain >= 0 else 'below'} the {rival}'s {other:.6f}"
    return Check(name, gain, bound, gain >= bound - _ROUNDING, f"MAP@12 {own:.6f} is {relation}; {_demand(bound)}.")


def _demand(bound: float) -> str:
    if bound > 0:
        return f"it must be at least {bound:g} above"
    if bound < 0:
        return f"it may be at most {-bound:g} below"
    return "it must not be below"


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
