"""Scores as click probabilities: their log loss, and their buckets, which the AUC and the calibration plot are made of."""

import math

import numpy as np
import numpy.typing as npt

BINS = 1000
"""Equal bins of [0, 1]. Scores of one bin count as tied in the AUC."""

BUCKETS = BINS + 2
"""The bins, one bucket before them for scores below 0 and one behind for scores of 1 and more, as in TFMA's calibration plot."""

EPSILON = 1e-7
"""Scores are clipped to [EPSILON, 1 - EPSILON] for the log loss, as Keras does."""


def log_losses(scores: npt.NDArray[np.float64], clicked: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Returns -log p of the clicked rows and -log(1 - p) of the others, (n,), in nats; NaN where the score is."""
    p = np.clip(scores, EPSILON, 1.0 - EPSILON)
    return -np.where(clicked, np.log(p), np.log1p(-p))


def bucket_of(scores: npt.NDArray) -> npt.NDArray[np.int64]:
    """Returns the bucket of each score, (n,), 0 to BUCKETS - 1; of a NaN, 0."""
    inside = np.clip(np.nan_to_num(scores.astype(np.float64), nan=-1.0), -1.0, 1.0)
    return np.maximum(np.floor(inside * BINS) + 1, 0).astype(np.int64)


def edges() -> npt.NDArray[np.float64]:
    """Returns the BUCKETS + 1 edges of the buckets, from minus to plus infinity."""
    return np.r_[-np.inf, np.arange(BINS + 1) / BINS, np.inf]


def auc(negatives: npt.NDArray, positives: npt.NDArray) -> float:
    """The probability that a positive scores higher than a negative, half of it for a tie; NaN without one of either.

    Args:
        negatives: Negatives by bucket of the score, ascending, (buckets,).
        positives: Positives, likewise.
    """
    below = np.cumsum(negatives) - negatives
    pairs = negatives.sum() * positives.sum()
    return float((positives * (below + negatives / 2)).sum() / pairs) if pairs else math.nan
