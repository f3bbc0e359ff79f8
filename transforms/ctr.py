"""As-of click-through rates: for each row, the clicks and views its group had strictly before the row's display."""

import numpy as np

# A composite key holds the group's code above and the time below this bit: 34 years of ms, and 2^23 groups a partition.
_TIME_BITS = 40


def count_as_of(
    group: np.ndarray, timestamp: np.ndarray, clicked: np.ndarray, is_history: np.ndarray, delay_ms: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Counts, for every row, the history rows of its group whose timestamp is below the row's timestamp minus `delay_ms`.

    Rows of the same moment do not see each other, so a row never sees its own label or its display's.

    Args:
        group: (n,) int64, any values.
        timestamp: (n,) int64 ms, 0 <= timestamp < 2^40.
        clicked: (n,) int64, 1 for a click, else 0; read for history rows only.
        is_history: (n,) bool, the rows that are counted.
        delay_ms: How much later than it happens a click becomes known.

    Returns:
        clicks, views: (n,) int64 each.
    """
    _, code = np.unique(group, return_inverse=True)
    if len(code) and (code.max() >= 1 << (63 - _TIME_BITS) or timestamp.max() >= 1 << _TIME_BITS):
        raise OverflowError(f"too many groups or too late a time for one partition. Received: {code.max() + 1} groups")
    base = code.astype(np.int64) << _TIME_BITS
    history = np.flatnonzero(is_history)
    moments = base[history] + timestamp[history]
    order = np.argsort(moments, kind="stable")
    moments = moments[order]
    clicks_before = np.concatenate([[0], np.cumsum(clicked[history][order])])
    first = np.searchsorted(moments, base)
    end = np.searchsorted(moments, base + np.maximum(timestamp - delay_ms, 0))
    return clicks_before[end] - clicks_before[first], end - first


def rate(
    clicks: np.ndarray, views: np.ndarray, prior: np.ndarray, prior_views: float, min_views: int
) -> tuple[np.ndarray, np.ndarray]:
    """The groups' CTR where they have more than `min_views` views, (clicks + prior_views * prior) / (views + prior_views).

    This is the posterior mean under a Beta prior of `prior_views` views; without one (0) it is clicks / views.

    Args:
        clicks, views: (n,) int64.
        prior: (n,) float64, the CTR to expect of a group without history.
        prior_views: How many views the prior is worth.
        min_views: See above.

    Returns:
        The rate, (n,) float32, and whether it is missing, (n,) bool.
    """
    value = (clicks + prior_views * prior) / np.maximum(views + prior_views, 1e-9)
    return value.astype(np.float32), views <= min_views
