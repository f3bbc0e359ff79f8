"""Losses of pairs (i, j) of one display with y_i > y_j: means over pairs.

Arguments as in `contract.py`, of shape (displays, list size). A pair weighs what its better item does.
"""

from collections.abc import Callable

import tensorflow as tf

from components.trainer.losses.contract import Items, LossSum, add_up, clean_lists


def pairwise_logistic(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    temperature: float = 1.0,
    margin: float = 0.0,
) -> LossSum:
    """log(1 + exp(-((s_i - s_j) / temperature - margin))): RankNet (Burges et al. 2005), BPR (Rendle et al. 2009)."""
    items = clean_lists(labels, scores, mask, weights)
    return _over_pairs(items, lambda gap: tf.nn.softplus(margin - gap / temperature))


def pairwise_hinge(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    margin: float = 1.0,
) -> LossSum:
    """max(0, margin - (s_i - s_j))."""
    items = clean_lists(labels, scores, mask, weights)
    return _over_pairs(items, lambda gap: tf.nn.relu(margin - gap))


def _over_pairs(items: Items, loss: Callable[[tf.Tensor], tf.Tensor]) -> LossSum:
    """Sums `loss(s_i - s_j)` over the pairs."""
    better = items.labels[:, :, None] > items.labels[:, None, :]  # (displays, i, j)
    real = items.mask[:, :, None] & items.mask[:, None, :]
    pair_weights = tf.where(better & real, items.weights[:, :, None], 0.0)
    return add_up(loss(items.scores[:, :, None] - items.scores[:, None, :]), pair_weights)
