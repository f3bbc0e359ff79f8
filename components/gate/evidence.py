"""What the gate judges by: read from the artifacts, and checked to belong together."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.evaluator.displays import AP, AP_BLESSED, read_displays, slice_columns
from components.evaluator.names import MAP_AT_12, displays_key
from components.evaluator.results import OVERALL, Metrics, read_evaluation
from schemas.errors import ConfigError, InputDataError
from schemas.serving import REPLAY_REPORT
from transforms.audit import AUDIT_FILE

_AGREEMENT = 1e-9
"""How far the mean over the displays may be from the Evaluator's metric: both are sums of up to millions of float64."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict depends on.

    Attributes:
        metrics: Overall metrics of the model, by name.
        blessed_metrics: Those of the latest blessed model; None if there is none, or it could not be judged.
        displays: `components.evaluator.displays.displays_schema`; has AP@12 of the blessed model if there is one.
        blessed_problem: Why the latest blessed model could not be judged; None if it could, or there is none.
        slices: By which columns to slice; several in one entry are crossed.
        audit: What the leak audit found; None if there was none.
        replay_skew: Largest difference of the exported model's scores to the trained one's; NaN if it is not known.
        source: Where displays and metrics are from, for messages.
    """

    metrics: Metrics
    blessed_metrics: Metrics | None
    displays: pa.Table
    blessed_problem: str | None = None
    slices: tuple[tuple[str, ...], ...] = ()
    audit: Mapping[str, Any] | None = None
    replay_skew: float = math.nan
    source: str = "the evaluation"

    def __post_init__(self) -> None:
        """Raises InputDataError if the displays are not those that the metrics are over."""
        self._check_agreement(AP, self.metrics, "the model")
        if self.blessed_metrics is not None:
            self._check_agreement(AP_BLESSED, self.blessed_metrics, "the blessed model")
            if not np.array_equal(*(self.displays[name].is_null().to_numpy() for name in (AP, AP_BLESSED))):
                raise self._unusable("the blessed model was evaluated on other displays")
        missing = sorted({name for entry in self.slices for name in entry} - set(slice_columns(self.displays)))
        if missing:
            raise self._unusable(f"its displays lack the slice column {', '.join(missing)}")

    def _check_agreement(self, column: str, metrics: Metrics, whose: str) -> None:
        if column not in self.displays.column_names:
            raise self._unusable(f"its displays have no {column}")
        values = self.displays[column].drop_null().to_numpy()
        if not np.isfinite(values).all():
            raise self._unusable(f"{column} of a display is not a number")
        expected, number = metrics.get(MAP_AT_12, math.nan), metrics.get(displays_key(MAP_AT_12), 0.0)
        mean = float(np.mean(values)) if len(values) else math.nan
        if len(values) != number or abs(mean - expected) > _AGREEMENT:  # no difference where one is NaN: a check fails then
            raise self._unusable(
                f"its displays and its metrics differ for {whose}: {len(values):,} displays with MAP@12 {mean:.9f}, "
                f"and {number:,.0f} with {expected:.9f}"
            )

    def _unusable(self, what: str) -> InputDataError:
        return InputDataError(f"{self.source}: {what}; remove this folder and run again")


def read_evidence(evaluation: str | Path, model: str | Path, audit: str | Path | None, has_baseline: bool) -> Evidence:
    """Reads the artifacts.

    Args:
        evaluation: The Evaluator's `evaluation`.
        model: The Trainer's `model`; beside the SavedModel it holds the report of the replay.
        audit: The LeakAudit's `audit`; None if there was none.
        has_baseline: Whether there is a latest blessed model.

    Raises:
        InputDataError: One of them is empty, damaged, or does not belong to the others.
        ConfigError: There is a blessed model that the evaluation knows nothing of.
    """
    read = read_evaluation(evaluation)
    if has_baseline and read.baseline is None and read.baseline_problem is None:
        raise ConfigError("Gate has a baseline_model, but the Evaluator had none; wire the same channel to both")
    return Evidence(
        metrics=read.candidate[OVERALL],
        blessed_metrics=read.baseline.get(OVERALL, {}) if read.baseline and has_baseline else None,
        displays=read_displays(evaluation),
        blessed_problem=read.baseline_problem if has_baseline else None,
        slices=tuple(sorted({tuple(name for name, _ in key) for key in read.candidate} - {()})),
        audit=None if audit is None else _read_json(Path(audit) / AUDIT_FILE),
        replay_skew=_read_skew(Path(model) / REPLAY_REPORT),
        source=str(evaluation),
    )


def _read_skew(path: Path) -> float:
    if not path.exists():
        return math.nan
    skew = _read_json(path).get("skew")
    return float(skew) if isinstance(skew, int | float) else math.nan


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputDataError(f"{path}: missing or damaged; remove its folder and run again") from error
    if not isinstance(read, dict):
        raise InputDataError(f"{path}: not a JSON object. Received: {type(read).__name__}")
    return read
