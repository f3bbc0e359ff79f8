"""Rows of variables."""

import tensorflow as tf


def gather_rows(variable: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Returns the rows, (..., dim), of a variable (n, dim) by their numbers (...), and reads no others.

    `tf.gather` reads the whole variable if a strategy made it: of those, TensorFlow copies all of it at each step once rows have
    been written. A gradient tape sees what is read here only if it was told to `watch` the variable.
    """
    try:
        handle = variable.handle
    except ValueError:  # in a strategy's scope, but in no replica: a model that is being built, where nobody minds the copy
        return tf.gather(variable, rows)
    return tf.raw_ops.ResourceGather(resource=handle, indices=rows, dtype=variable.dtype)
