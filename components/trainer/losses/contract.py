"""What every loss takes and returns.

A loss is a pure function `(labels, scores, *, mask=None, weights=None, <parameters>) -> LossSum`:

* labels: numbers, not negative; 1 is a click, 0 none.
* scores: the model's logits, of the labels' shape: any shape for a loss of rows, (displays, list size) for the others.
* mask: bool, likewise; False is padding. None: nothing is padding.
* weights: float32, likewise, not negative. None: all 1. An item of weight 0 is padding, too.

Whatever is in the labels, scores and weights of padding, NaN included, changes neither the value nor a gradient.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class LossSum(NamedTuple):
    """A loss as a weighted sum and what to divide it by, so that parts of a batch can be added up.

    Attributes:
        total: float32 (), the weighted sum; differentiable in the scores.
        count: float32 (), the sum of the weights of what was summed; it does not depend on the scores.
    """

    total: tf.Tensor
    count: tf.Tensor

    @property
    def mean(self) -> tf.Tensor:
        """float32 (), total / count; 0 of nothing."""
        return tf.math.divide_no_nan(self.total, self.count)


LossFunction = Callable[..., LossSum]


class Items(NamedTuple):
    """Arguments of a loss made safe: float32 of one shape, all 0 where the mask is False."""

    labels: tf.Tensor
    scores: tf.Tensor
    weights: tf.Tensor
    mask: tf.Tensor


def clean(labels: tf.Tensor, scores: tf.Tensor, mask: tf.Tensor | None, weights: tf.Tensor | None) -> Items:
    """Replaces what is in padding by 0 before anything is computed from it.

    This must come first: the gradient of `where(mask, f(x), 0)` is NaN if f'(x) is, whatever the mask.

    Raises:
        ValueError: The shapes differ.
    """
    labels, scores = (tf.cast(tf.convert_to_tensor(x), tf.float32) for x in (labels, scores))
    weights = tf.ones_like(scores) if weights is None else tf.cast(weights, tf.float32)
    mask = tf.ones_like(scores, tf.bool) if mask is None else tf.convert_to_tensor(mask)
    for name, other in (("labels", labels), ("mask", mask), ("weights", weights)):
        if not scores.shape.is_compatible_with(other.shape):
            raise ValueError(f"{name} must have the shape of the scores, {scores.shape}. Received: {other.shape}")
    mask = mask & (weights > 0)
    labels, scores, weights = (tf.where(mask, x, 0.0) for x in (labels, scores, weights))
    return Items(labels, scores, weights, mask)


def clean_lists(labels: tf.Tensor, scores: tf.Tensor, mask: tf.Tensor | None, weights: tf.Tensor | None) -> Items:
    """`clean` for losses that need (displays, list size).

    Raises:
        ValueError: The shapes differ, or are not of rank 2.
    """
    items = clean(labels, scores, mask, weights)
    if items.scores.shape.rank != 2:
        raise ValueError(f"scores must have shape (displays, list size). Received: {items.scores.shape}")
    return items


def add_up(losses: tf.Tensor, weights: tf.Tensor) -> LossSum:
    """The weighted sum of losses (any shape, finite) with weights (same shape)."""
    return LossSum(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))
