"""Where the clicked ads of displays come in a ranking, and what that is worth by each measure.

A display's ads are ranked by falling score. Ads of equal scores have no order: every measure is its expectation over all orders of
each block of equal scores, in closed form. So a constant score is worth what a random order is on average, and the order of the
file is worth nothing. A score that is not a number ranks behind every number, tied with the display's other ones.

All measures follow from four counts for each clicked ad, which come from comparing it with the ads of its display. Nothing is
sorted but, once for any number of rankings, the rows by display. The work is ads times clicks of a display; there, clicks are few.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

K = 12
"""Ranks that count, as in the Outbrain click-prediction competition."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Displays:
    """Rows grouped by display. There are n rows, d displays, h clicked rows and p pairs of a clicked row and one of its display.

    Attributes:
        ids: (d,) the distinct displays, ascending.
        order: (n,) the rows by display; those of one display in their order.
        starts: (d,) place in `order` of each display's first row.
        ads: (d,) rows of each display.
        clicks: (d,) clicked rows of each display.
        hits: (h,) places in `order` of clicked rows, ascending.
        display_of_hit: (h,) index into `ids`.
        pairs: (p,) places in `order` of the rows of each clicked row's display.
        pair_starts: (h,) where each clicked row's pairs start.
        is_hit: (n,) whether the row at each place of `order` was clicked.
    """

    ids: npt.NDArray
    order: Ints
    starts: Ints
    ads: Ints
    clicks: Ints
    hits: Ints
    display_of_hit: Ints
    pairs: Ints
    pair_starts: Ints
    is_hit: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ranking:
    """What precedes the clicked rows.

    Attributes:
        displays: Of what.
        above: (h,) rows of the display with a better score.
        tied: (h,) rows of the display with the same score, itself among them.
        clicks_above: (h,) those of `above` that were clicked.
        clicks_tied: (h,) those of `tied` that were clicked.
    """

    displays: Displays
    above: Ints
    tied: Ints
    clicks_above: Ints
    clicks_tied: Ints


def group(displays: npt.ArrayLike, labels: npt.ArrayLike) -> Displays:
    """Groups rows by display.

    Args:
        displays: Shape (n,); the display of each row, rows in any order.
        labels: Shape (n,); positive where the ad was clicked.

    Raises:
        ValueError: The shapes differ or are not one-dimensional.
    """
    display, clicked = np.asarray(displays), np.asarray(labels) > 0
    if display.shape != clicked.shape or display.ndim != 1:
        raise ValueError(
            f"displays and labels must be one-dimensional and of one length. Received: shapes {display.shape}, {clicked.shape}"
        )
    n = len(display)
    in_order = bool(np.all(display[1:] >= display[:-1]))
    order = np.arange(n) if in_order else np.argsort(display, kind="stable")
    display, clicked = display[order], clicked[order]
    starts = np.flatnonzero(np.r_[True, display[1:] != display[:-1]]) if n else np.zeros(0, np.int64)
    ads = np.diff(np.r_[starts, n])
    hits = np.flatnonzero(clicked)
    display_of_hit = np.searchsorted(starts, hits, side="right") - 1
    sizes = ads[display_of_hit]
    ends = np.cumsum(sizes)
    pair_starts = ends - sizes
    pairs = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[display_of_hit] - pair_starts, sizes)
    clicks = np.bincount(display_of_hit, minlength=len(starts))
    return Displays(display[starts], order, starts, ads, clicks, hits, display_of_hit, pairs, pair_starts, clicked)


def rank(displays: Displays, scores: npt.ArrayLike) -> Ranking:
    """Ranks the rows of every display by falling score.

    Args:
        displays: The rows, grouped.
        scores: Shape (n,); the rows in the order in which they were grouped.

    Raises:
        ValueError: There are not as many scores as rows.
    """
    score = np.asarray(scores)
    if score.shape != displays.order.shape:
        raise ValueError(f"there must be one score a row. Received: shape {score.shape} for {len(displays.order)} rows")
    if not len(displays.hits):
        none = np.zeros(0, np.int64)
        return Ranking(displays, none, none, none, none)
    score = score[displays.order]
    sizes = displays.ads[displays.display_of_hit]
    own, other = np.repeat(score[displays.hits], sizes), score[displays.pairs]
    is_above, is_tied = other > own, other == own
    nan = np.isnan(score)
    if nan.any():
        own_nan, other_nan = np.repeat(nan[displays.hits], sizes), nan[displays.pairs]
        is_above |= own_nan & ~other_nan
        is_tied |= own_nan & other_nan

    def count(which: npt.NDArray[np.bool_]) -> Ints:
        return np.add.reduceat(which, displays.pair_starts, dtype=np.int64)

    above, tied = count(is_above), count(is_tied)
    if displays.clicks.max() == 1:
        return Ranking(displays, above, tied, np.zeros_like(above), np.ones_like(above))
    is_hit = displays.is_hit[displays.pairs]
    return Ranking(displays, above, tied, count(is_above & is_hit), count(is_tied & is_hit))


def average_precisions(ranking: Ranking, k: int = K) -> Floats:
    """Returns the expected AP@k of each display, (d,), NaN where nothing was clicked.

    With `rel(i)` 1 if the ad at rank i was clicked, R clicks in all and `P(i) = (clicks among the first i) / i`,

        AP@k = 1 / min(k, R) * sum over i <= k of P(i) * rel(i)

    the definition of the Outbrain click-prediction competition; with one click it is 1 / rank. A clicked ad of a block of t ads
    with r clicks, behind s ads with c clicks, is at each place j of the block (rank s + j) with probability 1 / t, and given
    that, on average `(j - 1) * (r - 1) / (t - 1)` of the j - 1 places before it hold a click as well. By linearity of expectation
    the ad adds the mean over j of `(c + 1 + (j - 1) * (r - 1) / (t - 1)) / (s + j)`, ranks beyond k counting nothing. A constant
    score gets H_n / n for one click among n <= k ads, H_n the n-th harmonic number.

    Raises:
        ValueError: k is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be positive. Received: {k}")
    s, t, c, r = ranking.above, ranking.tied, ranking.clicks_above, ranking.clicks_tied
    reciprocal = _over_places(1.0 / np.arange(1, k + 1), ranking)
    # The sum over j of (j - 1) / (s + j) is the number of places that count less (s + 1) times that of 1 / (s + j).
    places = (np.minimum(s + t, k) - np.minimum(s, k)) / t
    value = (c + 1) * reciprocal + np.where(r > 1, (r - 1) / np.maximum(t - 1, 1) * (places - (s + 1) * reciprocal), 0.0)
    return _by_display(ranking, value, np.minimum(ranking.displays.clicks, k))


def normalized_dcgs(ranking: Ranking, k: int = K) -> Floats:
    """Returns the expected NDCG@k of each display, (d,), NaN where nothing was clicked.

        DCG@k = sum over i <= k of rel(i) / log2(1 + i),   NDCG@k = DCG@k / (sum over i <= min(k, R) of 1 / log2(1 + i))

    (Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418). In a block of equal scores every place holds a click with
    the same probability.

    Raises:
        ValueError: k is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be positive. Received: {k}")
    discount = 1.0 / np.log2(1.0 + np.arange(1, k + 1))
    ideal = np.r_[0.0, np.cumsum(discount)][np.minimum(ranking.displays.clicks, k)]
    return _by_display(ranking, _over_places(discount, ranking), ideal)


def reciprocal_ranks(ranking: Ranking) -> Floats:
    """Returns the expected reciprocal rank of each display's first click, (d,), NaN where nothing was clicked.

    Its mean is the MRR (Voorhees 1999, https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf); no rank is cut off. The first click
    is in the first block that has one. Of its t places, r hold clicks, and the first of them is behind place j with probability
    `C(t - j, r) / C(t, r)`; for r = 1 it is at each place alike.
    """
    first = ranking.clicks_above == 0
    longest = int((ranking.above + ranking.tied).max(initial=1))
    value = _over_places(1.0 / np.arange(1, longest + 1), ranking)
    several = np.flatnonzero(first & (ranking.clicks_tied > 1))
    if len(several):
        s, t, r = ranking.above[several], ranking.tied[several], ranking.clicks_tied[several]
        ends = np.cumsum(t)
        j = np.arange(ends[-1]) - np.repeat(ends - t, t) + 1.0
        here = _none_before(np.repeat(t, t), np.repeat(r, t), j - 1) - _none_before(np.repeat(t, t), np.repeat(r, t), j)
        value[several] = np.add.reduceat(here / (np.repeat(s, t) + j), ends - t)
    # Every clicked ad of the block has the block's value, and they share it.
    return _by_display(ranking, np.where(first, value / ranking.clicks_tied, 0.0), np.ones_like(ranking.displays.clicks))


def aucs(ranking: Ranking) -> Floats:
    """Returns the AUC within each display, (d,): how probably a clicked ad is before one that was not, a tie counting half.

    NaN where the display has no click, or nothing but clicks. Its mean weighted by impressions, that is by the display's ads, is
    the GAUC of Zhu et al. 2017, "Optimized Cost per Click in Taobao Display Advertising", https://arxiv.org/abs/1703.02091.
    """
    others = ranking.displays.ads - ranking.displays.clicks
    tied = ranking.tied - ranking.clicks_tied
    below = others[ranking.displays.display_of_hit] - (ranking.above - ranking.clicks_above) - tied
    pairs = (ranking.displays.clicks * others).astype(np.float64)
    return _by_display(ranking, below + tied / 2.0, np.where(pairs > 0, pairs, np.nan))


def _over_places(values: Floats, ranking: Ranking) -> Floats:
    """(h,): mean of `values[rank - 1]`, 0 beyond them, over the ranks that a clicked row may have."""
    totals, last = np.r_[0.0, np.cumsum(values)], len(values)
    start, end = np.minimum(ranking.above, last), np.minimum(ranking.above + ranking.tied, last)
    alone = np.r_[values, 0.0][start]  # exact, and the usual case
    return np.where(ranking.tied == 1, alone, (totals[end] - totals[start]) / ranking.tied)


def _none_before(t: Ints, r: Ints, j: Floats) -> Floats:
    """Probability that the first j of t places hold none of r clicks."""
    product = np.ones(len(t))
    for i in range(int(r.max())):
        product *= np.where(i < r, np.maximum(t - j - i, 0.0) / np.maximum(t - i, 1), 1.0)
    return product


def _by_display(ranking: Ranking, values: Floats, divisor: npt.NDArray) -> Floats:
    """Sum over each display's clicked rows by the divisor, NaN without a click."""
    displays = ranking.displays
    total = np.bincount(displays.display_of_hit, values, len(displays.ids))
    return np.where(displays.clicks > 0, total / np.where(displays.clicks > 0, divisor, 1.0), np.nan)
