"""Sums over displays by slice, which add up over partitions; metrics are ratios of them.

Partitions are added in the order of their numbers, displays in the order of their ids. So the sums are the same to the last bit
in whatever order rows come and whoever does the work, given as many partitions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluator.results import SliceKey
from components.evaluator.scores import BUCKETS

SHARED = ("displays", "clicked", "ads", "clicks", "auc_ads", "ap_random", "ap_popularity")
"""Sums that no model is part of: displays, those with a click, rows, clicked rows, rows of displays that have an AUC, AP@12."""

OF_MODEL = ("log_loss", "score", "ap", "ndcg", "reciprocal_rank", "auc")
"""Sums for each model: over rows the log loss and the score, over displays the measures; the AUC times the display's ads."""

ROWS, CLICKED, SCORE = range(3)
"""What is counted of each bucket of scores."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Rows by slice and bucket of the score, where there are any.

    Attributes:
        cells: (c,) slice * BUCKETS + bucket, ascending.
        values: (c, 3) rows, clicked rows, sum of scores.
    """

    cells: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums of some displays.

    Attributes:
        keys: The s slices; the first is the whole.
        sums: (s, SHARED + OF_MODEL for each model).
        histograms: One for each model.
        features: (f, 2) AP@12 of each feature alone, falling and rising, summed over all displays with a click.
    """

    keys: tuple[SliceKey, ...]
    sums: npt.NDArray[np.float64]
    histograms: tuple[Histogram, ...]
    features: npt.NDArray[np.float64]


def columns(models: int) -> int:
    """Returns the number of sums of a slice."""
    return len(SHARED) + models * len(OF_MODEL)


def column(name: str, model: int = 0) -> int:
    """Returns the place of a sum; `model` counts for those of `OF_MODEL`."""
    return SHARED.index(name) if name in SHARED else len(SHARED) + model * len(OF_MODEL) + OF_MODEL.index(name)


def count_cells(cells: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> Histogram:
    """Adds up values by cell.

    Args:
        cells: (n,) in any order.
        values: (n, 3).
    """
    distinct, place = np.unique(cells, return_inverse=True)
    summed = [np.bincount(place, values[:, i], len(distinct)) for i in range(values.shape[1])]
    return Histogram(distinct, np.stack(summed, axis=1))


def add_up(parts: Sequence[Tally]) -> Tally:
    """Adds partitions up, in the order given. There must be one at least."""
    keys = tuple(dict.fromkeys(key for part in parts for key in part.keys))
    place = {key: i for i, key in enumerate(keys)}
    places = [np.array([place[key] for key in part.keys]) for part in parts]
    sums = np.zeros((len(keys), parts[0].sums.shape[1]))
    for part, at in zip(parts, places, strict=True):
        sums[at] += part.sums
    histograms = []
    for model in range(len(parts[0].histograms)):
        own = [part.histograms[model] for part in parts]
        cells = [at[h.cells // BUCKETS] * BUCKETS + h.cells % BUCKETS for h, at in zip(own, places, strict=True)]
        histograms.append(count_cells(np.concatenate(cells), np.concatenate([h.values for h in own])))
    return Tally(keys, sums, tuple(histograms), np.sum([part.features for part in parts], axis=0))
