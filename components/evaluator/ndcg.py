"""Normalised discounted cumulative gain at k of ranked displays, exact also where scores tie.

For a display whose ads are ranked by falling score, with `rel(i)` 1 if the ad at rank i was clicked and R clicks in all,

    DCG@k = sum over i <= k of rel(i) / log2(1 + i),   NDCG@k = DCG@k / (sum over i <= min(k, R) of 1 / log2(1 + i))

(Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418). Tied ads have no order: DCG@k is the mean over all orders of
each tie block, in which every one of its places holds a click with the same probability. A score that is not a number ranks last.
"""

import numpy as np
import numpy.typing as npt

from components.evaluator.average_precision import K


def normalized_dcgs(displays: npt.ArrayLike, scores: npt.ArrayLike, labels: npt.ArrayLike, k: int = K) -> npt.NDArray[np.float64]:
    """Returns the expected NDCG@k of each distinct display, ascending; NaN where nothing was clicked.

    Args:
        displays: Shape (rows,); the display of each row, rows in any order.
        scores: Shape (rows,); a higher score ranks first.
        labels: Shape (rows,); positive where the ad was clicked.
        k: Number of ranks that count.
    """
    display, score, label = np.asarray(displays), np.asarray(scores, np.float64), np.asarray(labels)
    if not len(display):
        return np.zeros(0)
    score = np.where(np.isnan(score), -np.inf, score)
    order = np.lexsort((-score, display))
    display, score, clicked = display[order], score[order], (label[order] > 0).astype(np.float64)
    row = np.arange(len(display))
    starts = np.flatnonzero(np.r_[True, display[1:] != display[:-1]])
    sizes = np.diff(np.r_[starts, len(row)])
    rank = row - np.repeat(starts, sizes) + 1
    discount = np.where(rank <= k, 1.0 / np.log2(1.0 + rank), 0.0)

    new_block = np.r_[True, (display[1:] != display[:-1]) | (score[1:] != score[:-1])]
    blocks = np.flatnonzero(new_block)
    block_sizes = np.diff(np.r_[blocks, len(row)])
    block_gain = np.add.reduceat(clicked, blocks) / block_sizes * np.add.reduceat(discount, blocks)
    dcg = np.add.reduceat(np.where(new_block, block_gain[np.cumsum(new_block) - 1], 0.0), starts)

    clicks = np.add.reduceat(clicked, starts).astype(np.int64)
    ideal = np.r_[0.0, np.cumsum(1.0 / np.log2(1.0 + np.arange(1, k + 1)))]
    return np.where(clicks > 0, dcg / np.maximum(ideal[np.minimum(clicks, k)], 1e-300), np.nan)
