"""MAP@12, the measure that models are judged by; `components.evaluator.ranking` has the definition."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluator import ranking
from components.evaluator.ranking import K


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
    _, values = average_precisions(np.zeros(np.shape(scores), np.int8), scores, labels, k)
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
    grouped = ranking.group(displays, labels)
    return grouped.ids, ranking.average_precisions(ranking.rank(grouped, scores), k)
