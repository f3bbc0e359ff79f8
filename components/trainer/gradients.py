"""Sums of gradients over replicas, and the bound on their norm; sparse gradients stay sparse."""

from collections.abc import Sequence
from typing import TypeAlias

import tensorflow as tf

Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices | None
"""Dense, sparse (its rows may come several times and then add up), or of a variable that the loss does not depend on."""


def aggregate(gradients: Sequence[Gradient]) -> list[Gradient]:
    """Returns the sums of the gradients over all replicas; to be called in replica context, by all replicas.

    The rows of sparse gradients are gathered from all replicas, not added up. The optimizer is to be called with
    `skip_gradients_aggregation=True` then. One replica gets back what it gave.
    """
    context = tf.distribute.get_replica_context()
    given = [gradient for gradient in gradients if gradient is not None]
    if context.num_replicas_in_sync == 1 or not given:
        return list(gradients)
    # all_reduce puts its result where its input is, and refuses an input that was placed nowhere, as a function's arguments are.
    placed = tf.nest.map_structure(tf.identity, given, expand_composites=True)
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, placed))
    return [None if gradient is None else next(sums) for gradient in gradients]


def clip_by_global_norm(gradients: Sequence[Gradient], norm: float) -> tuple[list[Gradient], tf.Tensor]:
    """Scales gradients down so that the norm of all of them together is at most `norm`.

    Args:
        gradients: Of the whole step, i.e. already aggregated. A row that comes several times counts as its sum.
        norm: The bound, above 0.

    Returns:
        The gradients times min(1, norm / n), where n is the root of the sum of all squares, and n itself, float32 (), from before
        the scaling (Pascanu et al. 2013, https://arxiv.org/abs/1211.5063). Sparse ones have distinct rows. If a gradient is
        infinite or NaN, so are gradients that are returned: the step is not to look like a good one.
    """
    distinct = [_add_up_rows(gradient) for gradient in gradients]
    squares = [tf.reduce_sum(tf.square(tf.cast(_values(gradient), tf.float32))) for gradient in distinct if gradient is not None]
    total = tf.sqrt(tf.add_n(squares)) if squares else tf.constant(0.0)
    scale = norm / tf.maximum(total, norm)
    return [_scale(gradient, scale) for gradient in distinct], total


def _values(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _add_up_rows(gradient: Gradient) -> Gradient:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, place = tf.unique(gradient.indices)  # (r,), (n,)
    values = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))  # (r, dim)
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def _scale(gradient: Gradient, scale: tf.Tensor) -> Gradient:
    if gradient is None:
        return None
    values = _values(gradient) * tf.cast(scale, _values(gradient).dtype)
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return values
