"""Model inputs -> dense vectors.

Shape comments: n rows, h values of a multi-hot feature. On CPU one gather for each feature is the fastest; a gather of all rows
that are there into a segment mean took a fifth more time, a batched matmul over the values a quarter.
"""

import zlib
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from components.trainer.rows import gather_rows
from schemas.features import Feature


def variable_seed(seed: int, name: str) -> int:
    """A seed of its own for each variable: initial weights depend neither on the order of creation nor on the strategy."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def numbers(inputs: Mapping[str, tf.Tensor], features: Sequence[Feature]) -> tf.Tensor:
    """Returns numeric features side by side, (n, features)."""
    return tf.stack([inputs[f.name] for f in features], axis=1)


def present(ids: tf.Tensor) -> tf.Tensor:
    """Returns 1.0 where an id is there and 0.0 where it is missing, float32 of the shape of `ids`."""
    return tf.cast(ids >= 0, tf.float32)


class Embeddings(tf_keras.layers.Layer):
    """A vector for each feature: of an id its embedding, of several ids the mean over those that are there, of an indicator its
    one-hot, of a number itself. What is missing is a zero vector.

    An embedding starts as a truncated normal of standard deviation 1 / sqrt(dim).

    Attributes:
        tables: By feature, the embeddings, float32 (buckets, dim).
    """

    def __init__(self, features: Sequence[Feature], seed: int, name: str = "embeddings"):
        super().__init__(name=name)
        self._features = tuple(features)
        self._init_seed = seed

    def build(self, input_shape: object) -> None:
        self.tables = {f.name: self._table(f) for f in self._features if f.embedding_dim}
        super().build(input_shape)

    def _table(self, feature: Feature) -> tf.Variable:
        initializer = tf_keras.initializers.TruncatedNormal(
            stddev=feature.embedding_dim**-0.5, seed=variable_seed(self._init_seed, feature.name)
        )
        return self.add_weight(feature.name, (feature.buckets, feature.embedding_dim), initializer=initializer)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Returns the vectors in the order of the features, float32 (n, `width(feature)`) each."""
        return [self._vector(feature, inputs[feature.name]) for feature in self._features]

    def _vector(self, feature: Feature, values: tf.Tensor) -> tf.Tensor:
        match feature.kind:
            case "numeric":
                return values[:, tf.newaxis]  # (n, 1)
            case "indicator":
                return tf.one_hot(values, feature.buckets)  # (n, buckets); -1 is all zeros
            case "id":
                return self._rows(feature, values) * present(values)[:, tf.newaxis]  # (n, dim)
            case _:
                there = present(values)  # (n, h)
                share = there / tf.maximum(tf.reduce_sum(there, axis=1, keepdims=True), 1.0)  # (n, h)
                return tf.reduce_sum(self._rows(feature, values) * share[:, :, tf.newaxis], axis=1)  # (n, dim)

    def _rows(self, feature: Feature, ids: tf.Tensor) -> tf.Tensor:
        return gather_rows(self.tables[feature.name], tf.maximum(ids, 0))  # (n, dim) or (n, h, dim)


def width(feature: Feature) -> int:
    """Returns the length of a feature's vector."""
    return feature.embedding_dim or feature.buckets or 1
