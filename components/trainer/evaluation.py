"""What the trainer measures on the eval split: exact MAP@12 and NDCG@12, log loss, calibration, AUC."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluator import ranking
from components.evaluator.scores import auc

AUC_BINS = 10_000
"""Probabilities closer than 1 / AUC_BINS may count as equal in the AUC; everything else is exact."""


@dataclass(frozen=True, slots=True)
class EvalMetrics:
    """Metrics of the eval split.

    Attributes:
        map_at_12: Mean average precision at 12 over displays with a click, ties as in `components.evaluator.ranking`.
        ndcg_at_12: Mean NDCG at 12 over the same displays.
        log_loss: Mean cross entropy, nats a row.
        auc: Over all rows; NaN without both classes.
        calibration: Sum of the predicted probabilities by the number of clicks; NaN without a click.
    """

    map_at_12: float
    ndcg_at_12: float
    log_loss: float
    auc: float
    calibration: float


class EvalTotals:
    """Sums over displays and rows, which add up over batches and workers."""

    _SUMS = 7

    def __init__(self) -> None:
        self._sums = np.zeros(self._SUMS)
        self._bins = np.zeros((2, AUC_BINS))  # rows without and with a click by bin of the probability

    def add(self, logits: npt.NDArray, labels: npt.NDArray, displays: npt.NDArray) -> None:
        """Adds whole displays.

        Args:
            logits: float (n,).
            labels: (n,), 0 or 1.
            displays: (n,) the display of each row, as any number.
        """
        logits = logits.astype(np.float64)
        clicked = labels > 0
        probability = 1.0 / (1.0 + np.exp(-np.clip(logits, -700, 700)))
        with np.errstate(invalid="ignore"):  # of a NaN; the caller looks at the sum
            entropy = np.logaddexp(0.0, np.where(clicked, -logits, logits))
        ranked = ranking.rank(ranking.group(displays, labels), logits)
        precision, gain = ranking.average_precisions(ranked), ranking.normalized_dcgs(ranked)
        judged = ~np.isnan(precision)
        self._sums += [
            len(logits),
            entropy.sum(),
            clicked.sum(),
            probability.sum(),
            judged.sum(),
            precision[judged].sum(),
            gain[judged].sum(),
        ]
        bins = np.nan_to_num(np.minimum(probability * AUC_BINS, AUC_BINS - 1)).astype(np.int64)
        for row, which in enumerate((~clicked, clicked)):
            self._bins[row] += np.bincount(bins[which], minlength=AUC_BINS)

    def as_vector(self) -> npt.NDArray[np.float64]:
        """All sums as one vector, to be added to others'."""
        return np.concatenate([self._sums, self._bins.ravel()])

    def metrics(self, vector: npt.NDArray[np.float64]) -> EvalMetrics:
        """The metrics that added-up vectors come to. Without a row all are NaN."""
        rows, entropy, clicks, probability, displays, precision, gain = vector[: self._SUMS].tolist()
        bins = vector[self._SUMS :].reshape(2, AUC_BINS)
        return EvalMetrics(
            map_at_12=_ratio(precision, displays),
            ndcg_at_12=_ratio(gain, displays),
            log_loss=_ratio(entropy, rows),
            auc=auc(bins[0], bins[1]),
            calibration=_ratio(probability, clicks),
        )


def evaluate(
    batches: Iterable[Sequence[tuple[npt.NDArray, npt.NDArray, npt.NDArray]]],
    add_up: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> EvalMetrics:
    """Evaluates scored batches.

    Args:
        batches: For each step, each local replica's (logits, labels, displays) of whole displays.
        add_up: Adds a vector up over all workers.
    """
    totals = EvalTotals()
    for parts in batches:
        for logits, labels, displays in parts:
            totals.add(logits, labels, displays)
    return totals.metrics(add_up(totals.as_vector()))


def _ratio(total: float, count: float) -> float:
    return total / count if count else math.nan
