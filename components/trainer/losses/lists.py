"""Flat rows -> padded lists, one a display."""

from typing import NamedTuple

import tensorflow as tf


class Lists(NamedTuple):
    """Rows by display: all (displays, list size), as long as the longest display.

    Attributes:
        labels: float32.
        scores: float32, differentiable in the scores they come from.
        weights: float32.
        mask: bool, False for padding. All else is 0 there.
    """

    labels: tf.Tensor
    scores: tf.Tensor
    weights: tf.Tensor
    mask: tf.Tensor


def to_lists(labels: tf.Tensor, scores: tf.Tensor, weights: tf.Tensor, display: tf.Tensor) -> Lists:
    """Puts the rows of each display into one list, in the order of the rows.

    Args:
        labels: (rows,).
        scores: (rows,).
        weights: (rows,). A row of weight 0 is padding, and left out.
        display: int32 or int64 (rows,), which display of the batch a row is of, from 0, not falling over the rows. Anything in
            padding. A number that is skipped gives a display of nothing but padding.

    Raises:
        tf.errors.InvalidArgumentError: `display` falls or is negative.
    """
    rows = tf.where(weights > 0)[:, 0]  # (real rows,), int64
    # The display's rows as indices into the columns; padding points behind their end.
    index = tf.RaggedTensor.from_value_rowids(rows, tf.gather(tf.cast(display, tf.int64), rows))
    index = index.to_tensor(default_value=tf.size(labels, tf.int64))  # (displays, list size)

    def spread(column: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.pad(tf.cast(column, tf.float32), [[0, 1]]), index)

    return Lists(spread(labels), spread(scores), spread(weights), index < tf.size(labels, tf.int64))
