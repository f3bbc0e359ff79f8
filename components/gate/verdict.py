"""The rule by which a model may go out, as a pure function of what is known of it."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from components.evaluator.displays import AP, AP_BLESSED
from components.gate import checks
from components.gate.checks import Check
from components.gate.comparison import Comparison, Interval, SliceComparison, compare, compare_slices, estimate
from components.gate.evidence import Evidence
from schemas.config import GateConfig


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided, and on what grounds.

    Attributes:
        blessed: Whether the model may go out: every check passed.
        checks: Every check that was made, passed or not.
        map_at_12: The model's MAP@12 with its bounds; None if no display has a click.
        comparison: The model against the latest blessed one; None if there is none, or no display has a click.
        slices: The same by slice, for the slices that were tested, the most doubtful first.
    """

    blessed: bool
    checks: tuple[Check, ...]
    map_at_12: Interval | None
    comparison: Comparison | None
    slices: tuple[SliceComparison, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the checks that decided: the failed ones of a refused model, all of a blessed one."""
        return tuple(check.sentence for check in self.checks if self.blessed or not check.passed)

    def to_json(self) -> str:
        """Renders the verdict as strict JSON; what is not a finite number becomes null."""
        record = {"blessed": self.blessed, "reasons": self.reasons, **{k: v for k, v in asdict(self).items() if k != "blessed"}}
        return json.dumps(_finite(record), indent=2, allow_nan=False)


def decide(evidence: Evidence, gate: GateConfig) -> Verdict:
    """Decides whether a model may go out: it may if every check of `components.gate.checks` passes.

    A model is compared with the latest blessed one, overall and by slice, if there is one that can be judged. A metric that is
    missing or not a finite number fails its check.

    Args:
        evidence: What is known of the model.
        gate: The bounds.
    """
    own = evidence.displays[AP].drop_null()
    comparison: Comparison | None = None
    tested: tuple[SliceComparison, ...] = ()
    if evidence.blessed_metrics is not None and len(own):
        rows = evidence.displays.filter(evidence.displays[AP].is_valid())
        difference = rows[AP].to_numpy() - rows[AP_BLESSED].to_numpy()
        comparison = compare(difference, gate)
        tested = compare_slices(rows, np.asarray(difference), evidence.slices, gate)
    made = tuple(_checks(evidence, comparison, tested, gate))
    interval = estimate(own.to_numpy(), gate) if len(own) else None
    return Verdict(all(check.passed for check in made), made, interval, comparison, tested)


def _checks(
    evidence: Evidence, comparison: Comparison | None, tested: tuple[SliceComparison, ...], gate: GateConfig
) -> Iterator[Check]:
    metrics, blessed = evidence.metrics, evidence.blessed_metrics
    yield checks.eval_displays(metrics)
    yield checks.finite_scores(metrics)
    yield checks.gain_over_popularity(metrics, gate)
    if evidence.blessed_problem is not None:
        yield checks.blessed_model(evidence.blessed_problem, gate)
    if blessed is not None:
        yield checks.loss_to_blessed(metrics, blessed, comparison, gate)
        yield checks.slices(tested, gate)
    yield checks.calibration(metrics, gate)
    yield checks.audit(evidence.audit)
    yield checks.replay_skew(evidence.replay_skew, gate)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
