"""Losses of single rows: means over rows, weighted by the rows' weights. Arguments as in `contract.py`, of any shape."""

from collections.abc import Callable

import tensorflow as tf

from components.trainer.losses.contract import Items, LossSum, add_up, clean

MAX_NEGATIVE_WEIGHT = 100.0
"""Bound on what a negative weighs in `f1_reweighted`."""


def sigmoid_cross_entropy(
    labels: tf.Tensor, scores: tf.Tensor, *, mask: tf.Tensor | None = None, weights: tf.Tensor | None = None
) -> LossSum:
    """-y log p - (1 - y) log(1 - p) with p = sigmoid(s). It is also the softmax cross entropy of two classes, logits (0, s)."""
    items = clean(labels, scores, mask, weights)
    return add_up(_cross_entropy(items), items.weights)


def l2(labels: tf.Tensor, scores: tf.Tensor, *, mask: tf.Tensor | None = None, weights: tf.Tensor | None = None) -> LossSum:
    """(y - s)^2."""
    items = clean(labels, scores, mask, weights)
    return add_up(tf.square(items.labels - items.scores), items.weights)


def sigmoid_l2(labels: tf.Tensor, scores: tf.Tensor, *, mask: tf.Tensor | None = None, weights: tf.Tensor | None = None) -> LossSum:
    """(y - sigmoid(s))^2."""
    items = clean(labels, scores, mask, weights)
    return add_up(tf.square(items.labels - tf.sigmoid(items.scores)), items.weights)


def f1_reweighted(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    beta_square: float = 1.0,
    across: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> LossSum:
    """Cross entropy in which a negative weighs w = tp / (beta_square P + tp - P): the loss of EasyRec by that name.

    P is the batch's sum of labels and tp its sum of probabilities, over all replicas. beta_square = 1 gives w = 1, more gives
    less (recall), less gives more (precision). Unlike EasyRec's, w is a constant to the gradient and kept within [0, 100]: the
    formula goes to infinity as tp falls to (1 - beta_square) P, and is negative below, where w is 0 until tp has grown again.

    Args:
        labels: 0 or 1.
        scores: Logits.
        mask: See `contract.py`.
        weights: See `contract.py`; P and tp are weighted by them. The mean's count does not include w.
        beta_square: Weight of recall beside precision, squared.
        across: Sums a tensor over replicas; only given constants.
    """
    items = clean(labels, scores, mask, weights)
    sums = [tf.reduce_sum(items.weights * x) for x in (items.labels, tf.sigmoid(items.scores))]
    positives, expected = tf.unstack(across(tf.stop_gradient(tf.stack(sums))))
    # The epsilon is EasyRec's.
    ratio = tf.math.divide_no_nan(expected, beta_square * positives + expected - positives + 1e-8)
    negative_weight = tf.clip_by_value(ratio, 0.0, MAX_NEGATIVE_WEIGHT)
    reweighted = items.labels + (1.0 - items.labels) * negative_weight
    return add_up(reweighted * _cross_entropy(items), items.weights)


def focal(
    labels: tf.Tensor,
    scores: tf.Tensor,
    *,
    mask: tf.Tensor | None = None,
    weights: tf.Tensor | None = None,
    gamma: float = 2.0,
    alpha: float | None = None,
) -> LossSum:
    """-a (1 - q)^gamma log q, where q is the probability given to the true class (Lin et al. 2017, arXiv:1708.02002).

    Args:
        labels: 0 or 1; values between are mixtures.
        scores: Logits.
        mask: See `contract.py`.
        weights: See `contract.py`.
        gamma: 0 is the cross entropy.
        alpha: a is alpha for positives and 1 - alpha for negatives. None: 1 for both.
    """
    items = clean(labels, scores, mask, weights)
    of_positives, of_negatives = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)

    def if_true(logit: tf.Tensor) -> tf.Tensor:
        # (1 - q)^gamma as an exponential, since the gradient of a power of 0 may be infinite.
        return tf.exp(-gamma * tf.nn.softplus(logit)) * tf.nn.softplus(-logit)

    positive = of_positives * items.labels * if_true(items.scores)
    negative = of_negatives * (1.0 - items.labels) * if_true(-items.scores)
    return add_up(positive + negative, items.weights)


def _cross_entropy(items: Items) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(items.labels, items.scores)
