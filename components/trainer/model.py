"""The wide & deep model, logit = wide(x) + deep(x) (Cheng et al. 2016, https://arxiv.org/abs/1606.07792).

Inputs are the outputs of Transform: int64 (n,) or (n, hotness) with `MISSING_ID` for what is absent, float32 (n,) for numbers.
Shape comments: n rows, h values of a multi-hot feature.
"""

import zlib
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from schemas.config import ModelConfig
from schemas.features import Feature


def _seed(seed: int, name: str) -> int:
    """A seed of its own for each variable: initial weights depend neither on the order of creation nor on the strategy."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


def _lookup(table: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks up `ids` (n,) or (n, h) in `table` (buckets, dim); returns vectors (n, h, dim), zero where missing, and the mask."""
    if ids.shape.rank == 1:
        ids = ids[:, tf.newaxis]
    mask = tf.cast(ids >= 0, table.dtype)[:, :, tf.newaxis]  # (n, h, 1)
    return tf.gather(table, tf.maximum(ids, 0)) * mask, mask  # (n, h, dim), (n, h, 1)


def _numbers(inputs: Mapping[str, tf.Tensor], features: Sequence[Feature]) -> tf.Tensor:
    return tf.stack([inputs[f.name] for f in features], axis=1)  # (n, numbers)


class Wide(tf_keras.layers.Layer):
    """The linear part: one weight a bucket (summed over a multi-hot's values), one a number, and a bias, all zero at first."""

    def __init__(self, features: Sequence[Feature], name: str = "wide"):
        super().__init__(name=name)
        self._categorical = [f for f in features if f.wide and f.kind != "numeric"]
        self._numeric = [f for f in features if f.wide and f.kind == "numeric"]

    def build(self, input_shape: object) -> None:
        self.bias = self.add_weight("bias", (), initializer="zeros")
        self.tables = {f.name: self.add_weight(f.name, (f.buckets, 1), initializer="zeros") for f in self._categorical}
        if self._numeric:
            self.numeric = self.add_weight("numeric", (len(self._numeric),), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the logit (n,)."""
        terms = []
        for feature in self._categorical:
            weights, _ = _lookup(self.tables[feature.name], inputs[feature.name])  # (n, h, 1)
            terms.append(tf.reduce_sum(weights, axis=(1, 2)))  # (n,)
        if self._numeric:
            terms.append(tf.linalg.matvec(_numbers(inputs, self._numeric), self.numeric))  # (n,)
        return self.bias + tf.add_n(terms)


class Deep(tf_keras.layers.Layer):
    """The network: embeddings, one-hot indicators and numbers side by side, hidden ReLU layers, one output.

    An embedding starts as a truncated normal of standard deviation 1 / sqrt(dim); a multi-hot is the mean over the values that
    are there; what is missing is a zero vector. Kernels start Glorot uniform, biases zero.
    """

    def __init__(self, features: Sequence[Feature], config: ModelConfig, seed: int, name: str = "deep"):
        super().__init__(name=name)
        deep = [f for f in features if f.deep]
        self._ids = [f for f in deep if f.kind in ("id", "ids")]
        self._indicators = [f for f in deep if f.kind == "indicator"]
        self._numeric = [f for f in deep if f.kind == "numeric"]
        self._init_seed = seed
        self._hidden = [self._dense(f"hidden_{i}", units, "relu") for i, units in enumerate(config.hidden_units)]
        self._dropout = tf_keras.layers.Dropout(config.dropout, seed=_seed(seed, "dropout"))
        self._output = self._dense("output", 1, None)

    def _dense(self, name: str, units: int, activation: str | None) -> tf_keras.layers.Dense:
        kernel = tf_keras.initializers.GlorotUniform(_seed(self._init_seed, name))
        return tf_keras.layers.Dense(units, activation=activation, kernel_initializer=kernel, name=name)

    def build(self, input_shape: object) -> None:
        self.tables = {}
        for feature in self._ids:
            initializer = tf_keras.initializers.TruncatedNormal(
                stddev=feature.embedding_dim**-0.5, seed=_seed(self._init_seed, feature.name)
            )
            shape = (feature.buckets, feature.embedding_dim)
            self.tables[feature.name] = self.add_weight(feature.name, shape, initializer=initializer)
        super().build(input_shape)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns the logit (n,)."""
        parts = []
        for feature in self._ids:
            vectors, mask = _lookup(self.tables[feature.name], inputs[feature.name])  # (n, h, dim), (n, h, 1)
            count = tf.maximum(tf.reduce_sum(mask, axis=1), 1.0)  # (n, 1)
            parts.append(tf.reduce_sum(vectors, axis=1) / count)  # (n, dim)
        parts += [tf.one_hot(inputs[f.name], f.buckets) for f in self._indicators]  # (n, buckets); -1 is all zeros
        if self._numeric:
            parts.append(_numbers(inputs, self._numeric))
        x = tf.concat(parts, axis=1)  # (n, width)
        for layer in self._hidden:
            x = self._dropout(layer(x), training=training)  # (n, units)
        return self._output(x)[:, 0]  # (n,)


class WideDeep(tf_keras.Model):
    """Wide & deep, or one of both; returns the logit (n,) of a click."""

    def __init__(self, features: Sequence[Feature], config: ModelConfig, seed: int):
        super().__init__(name="clickrank")
        self.features = tuple(features)
        self.wide = None if config.kind == "deep" else Wide(features)
        self.deep = None if config.kind == "wide" else Deep(features, config, seed)

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Returns the logit (n,)."""
        logits = []
        if self.wide is not None:
            logits.append(self.wide(inputs))
        if self.deep is not None:
            logits.append(self.deep(inputs, training=training))
        return tf.add_n(logits)


def build_model(features: Sequence[Feature], config: ModelConfig, seed: int = 0) -> WideDeep:
    """Returns a model whose variables exist, with initial weights that `seed` determines.

    Args:
        features: `schemas.features.model_inputs(...)` of the Transform whose outputs the model will see.
        config: The `model` sub-tree.
        seed: Of the initial weights and dropout.
    """
    model = WideDeep(features, config, seed)
    model(
        {
            f.name: tf.zeros((1,)) if f.kind == "numeric" else tf.zeros((1, f.hotness) if f.kind == "ids" else (1,), tf.int64)
            for f in features
        }
    )
    return model
