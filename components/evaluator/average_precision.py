"""Average precision at k of ranked displays, exact also where scores tie.

For a display whose ads are ranked by falling score, with `rel(i)` 1 if the ad at rank i was clicked, R clicks in all and
`P(i) = (clicks among the first i) / i`:

    AP@k = 1 / min(k, R) * sum over i <= k of P(i) * rel(i)

the definition of the Outbrain click-prediction competition; with one click it is 1 / rank. Tied ads have no order, so AP@k is
taken as its expectation over all orders of each tie block, in closed form: a block of t ads with r clicks, behind s ads with
c clicks, puts at its place j (rank i = s + j) a click with probability r / t, and given that, on average
`(j - 1) * (r - 1) / (t - 1)` of the j - 1 places before it in the block are clicks as well. By linearity of expectation

    E[P(i) rel(i)] = r / t * (c + 1 + (j - 1) * (r - 1) / (t - 1)) / i

So a constant score gets no more than a random order does: H_n / n for one click among n <= k ads, H_n the n-th harmonic number.

A score that is not a number ranks behind every number, tied with the display's other ones.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

K = 12


@dataclass(frozen=True, slots=True)
class MeanAveragePrecision:
    """MAP@k over displays.

    Attributes:
        value: Mean AP@k of the displays with a click; NaN if there are none.
        displays: Number of displays with a click, over which the mean is taken.
        displays_without_click: Number of displays left out because nothing was clicked.
    """

    value: float
    displays: int
    displays_without_click: int


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike, k: int = K) -> float:
    """Returns the expected AP@k of one display, NaN if it has no click.

    Args:
        scores: Shape (ads,); a higher score ranks first.
        labels: Shape (ads,); positive where the ad was clicked.
        k: Number of ranks that count.

    Raises:
        ValueError: The shapes differ or k is not positive.
    """
    scores = np.asarray(scores)
    _, values = average_precisions(np.zeros(scores.shape, np.int8), scores, labels, k)
    return float(values[0]) if len(values) else float("nan")


def mean_average_precision(
    displays: npt.ArrayLike, scores: npt.ArrayLike, labels: npt.ArrayLike, k: int = K
) -> MeanAveragePrecision:
    """Returns MAP@k over many displays; arguments as for `average_precisions`."""
    _, values = average_precisions(displays, scores, labels, k)
    clicked = values[~np.isnan(values)]
    mean = float(np.mean(clicked)) if len(clicked) else float("nan")
    return MeanAveragePrecision(mean, len(clicked), len(values) - len(clicked))


def average_precisions(
    displays: npt.ArrayLike, scores: npt.ArrayLike, labels: npt.ArrayLike, k: int = K
) -> tuple[npt.NDArray, npt.NDArray[np.float64]]:
    """Returns the distinct displays, ascending, and the expected AP@k of each, NaN where nothing was clicked.

    Args:
        displays: Shape (rows,); the display of each row, rows in any order.
        scores: Shape (rows,); a higher score ranks first.
        labels: Shape (rows,); positive where the ad was clicked.
        k: Number of ranks that count.

    Returns:
        Shapes (displays,) and (displays,).

    Raises:
        ValueError: The shapes differ, are not one-dimensional, or k is not positive.
    """
    display, score, label = np.asarray(displays), np.asarray(scores, np.float64), np.asarray(labels)
    if not display.shape == score.shape == label.shape or display.ndim != 1:
        raise ValueError(
            f"displays, scores and labels must be one-dimensional and of one length. "
            f"Received: shapes {display.shape}, {score.shape}, {label.shape}"
        )
    if k < 1:
        raise ValueError(f"k must be positive. Received: {k}")
    if not len(display):
        return display, np.zeros(0)

    nan = np.isnan(score)
    order = np.lexsort((-score, nan, display))
    display, score, nan, clicked = display[order], score[order], nan[order], (label[order] > 0).astype(np.float64)
    row = np.arange(len(display))

    new_display = np.r_[True, display[1:] != display[:-1]]
    display_start = np.flatnonzero(new_display)
    first = np.repeat(display_start, np.diff(np.r_[display_start, len(row)]))  # (rows,) first row of the row's display
    tied = (score[1:] == score[:-1]) | (nan[1:] & nan[:-1])
    block_start = np.flatnonzero(new_display | np.r_[True, ~tied])
    block_size = np.diff(np.r_[block_start, len(row)])

    clicks_before = np.r_[0.0, np.cumsum(clicked)]  # (rows + 1,) over all displays; differences of it are exact
    s = np.repeat(block_start, block_size)  # (rows,) first row of the row's block
    t = np.repeat(block_size, block_size)  # (rows,) ads in the block
    r = clicks_before[s + t] - clicks_before[s]  # (rows,) clicks in the block
    c = clicks_before[s] - clicks_before[first]  # (rows,) clicks of the display before the block
    j, rank = row - s + 1, row - first + 1

    before_in_block = (j - 1) * (r - 1.0) / np.maximum(t - 1, 1)
    term = np.where((rank <= k) & (r > 0), r / t * (c + 1.0 + before_in_block) / rank, 0.0)
    clicks = np.add.reduceat(clicked, display_start)
    total = np.add.reduceat(term, display_start)
    return display[display_start], np.where(clicks > 0, total / np.clip(clicks, 1, k), np.nan)
