"""Click-through rates of groups as of a row: for each row, what its group had seen strictly before it, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

# A composite key holds the group's code above and the time below this bit: 34 years of ms, and 2^23 groups a partition.
_TIME_BITS = 40
_AD_BITS = 32
_FIXED_POINT = 1 << 32
"""Confidences are added up as integers, so that the sum does not depend on the order of the rows."""


@dataclass(frozen=True)
class Counts:
    """What each row's group had seen; (n,) each.

    Attributes:
        clicks: Clicks.
        views: Ads shown.
        ads: Distinct ads shown.
        confidence: Mean confidence over the ads shown, float64; 1 where confidences do not matter.
    """

    clicks: np.ndarray
    views: np.ndarray
    ads: np.ndarray
    confidence: np.ndarray


def count_as_of(
    group: np.ndarray,
    timestamp: np.ndarray,
    clicked: np.ndarray,
    is_history: np.ndarray,
    ad: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    *,
    delay_ms: int = 0,
    see_all: bool = False,
) -> Counts:
    """Counts, for every row, the history rows of its group whose timestamp is below the row's timestamp minus `delay_ms`.

    Rows of the same moment do not see each other, so a row never sees its own label or its display's.

    Args:
        group: (n,) int64, any values.
        timestamp: (n,) int64 ms, 0 <= timestamp < 2^40.
        clicked: (n,) int64, 1 for a click, else 0; read for history rows only.
        is_history: (n,) bool, the rows that are counted.
        ad: (n,) int64; None if distinct ads do not matter, they are then 1.
        confidence: (n,) float in [0, 1]; None if confidences do not matter.
        delay_ms: How much later than it happens a click becomes known.
        see_all: Count all history rows of the group, whatever their time.
    """
    n = len(group)
    code, distinct = pd.factorize(group)  # by hashing, a fraction of what sorting in np.unique takes
    if n and (len(distinct) > 1 << (63 - _TIME_BITS) or timestamp.max() >= 1 << _TIME_BITS):
        raise OverflowError(f"too many groups or too late a time for one partition. Received: {len(distinct)} groups")
    # All in the order of group and time. The order within a moment is of no matter, as nobody sees a part of it.
    keys = (code << _TIME_BITS) + timestamp
    order = np.argsort(keys)
    keys, code = keys[order], code[order]
    history = is_history[order]
    before = np.concatenate([[0], np.cumsum(history)])  # history rows before each place
    starts = np.flatnonzero(np.diff(code, prepend=-1))  # of the groups, in order of code
    first = before[starts][code]
    end = before[np.append(starts[1:], n)][code] if see_all else before[_places_of(keys, delay_ms)]
    history_rows = order[history]

    def total(values: np.ndarray) -> np.ndarray:
        before = np.concatenate([[0], np.cumsum(values)])
        return _put_back(before[end] - before[first], order)

    views = _put_back(end - first, order)
    ads, mean = np.ones(n, np.int64), np.ones(n)
    if ad is not None:
        ads = total(_is_first(code[history], ad[history_rows]))
    if confidence is not None:
        fixed = np.rint(confidence[history_rows].astype(np.float64) * _FIXED_POINT).astype(np.int64)
        mean = total(fixed) / _FIXED_POINT / np.maximum(views, 1)
    return Counts(total(clicked[history_rows]), views, ads, mean)


def _put_back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Undoes values[order]."""
    back = np.empty_like(values)
    back[order] = values
    return back


def _places_of(keys: np.ndarray, delay_ms: int) -> np.ndarray:
    """The first place whose key is not below each key's less the delay, but of the same group, (n,); keys are ascending."""
    if delay_ms:
        start = keys & ~((1 << _TIME_BITS) - 1)
        return np.searchsorted(keys, np.maximum(keys - delay_ms, start))
    new = np.diff(keys, prepend=-1) != 0
    return np.flatnonzero(new)[np.cumsum(new) - 1]


def _is_first(group: np.ndarray, ad: np.ndarray) -> np.ndarray:
    """1 for the first row of each (group, ad), else 0. (n,) each; groups are below 2^23, ads below 2^32."""
    pair = (group << _AD_BITS) + ad
    order = np.argsort(pair)
    starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
    first = np.zeros(len(order), np.int64)
    if len(order):
        first[np.minimum.reduceat(order, starts)] = 1
    return first


def rate(clicks: np.ndarray, views: np.ndarray, prior: np.ndarray, prior_views: float) -> np.ndarray:
    """(clicks + prior_views * prior) / (views + prior_views), (n,) float64.

    This is the posterior mean under a Beta prior of `prior_views` views; without one (0) it is clicks / views.

    Args:
        clicks, views: (n,) int64.
        prior: (n,) float64, the CTR to expect of a group without history.
        prior_views: How many views the prior is worth.
    """
    return (clicks + prior_views * prior) / np.maximum(views + prior_views, 1e-9)


def rate_confidence(views: np.ndarray, full_views: int) -> np.ndarray:
    """ln(1 + views) / log2(1 + full_views) up to `full_views`, from there on 1: NVIDIA's formula, with its two bases.

    Args:
        views: (n,) views, or views per ad.
        full_views: Views that give full confidence.
    """
    return np.where(views >= full_views, 1.0, np.log1p(views) / np.log2(1 + full_views))
