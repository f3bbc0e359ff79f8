"""Wide & deep, written straightforwardly with tf_keras' own parts: what `benchmarks.step` compares the Trainer's step with."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers, optimizers

from schemas.features import Feature
from schemas.records import LABEL


def make_step(
    features: Sequence[Feature], units: Sequence[int], columns: Mapping[str, np.ndarray], deep_optimizer: str
) -> Callable[[], float]:
    """Returns a function that trains on `columns` once and returns the loss.

    The same layers and optimizers as the Trainer's by default. It masks no missing values, so it does a little less: -1 becomes 0.
    """
    model = tf_keras.experimental.WideDeepModel(_wide(features), _deep(features, units))
    deep = optimizers.Adam(0.001) if deep_optimizer == "adam" else optimizers.Adagrad(0.05)
    model.compile([optimizers.Ftrl(0.2), deep], tf_keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = {f.name: tf.constant(np.maximum(columns[f.name], 0) if f.buckets else columns[f.name]) for f in features}
    labels = tf.constant(columns[LABEL].astype(np.float32)[:, np.newaxis])
    step = tf.function(model.train_step)
    return lambda: float(step((inputs, labels))["loss"])


def _inputs(features: Sequence[Feature]) -> dict[str, tf.Tensor]:
    return {f.name: layers.Input((f.hotness,), name=f.name, dtype="int32" if f.buckets else "float32") for f in features}


def _wide(features: Sequence[Feature]) -> tf_keras.Model:
    inputs = _inputs(features)
    terms = [
        tf.reduce_sum(layers.Embedding(f.buckets, 1, embeddings_initializer="zeros")(inputs[f.name]), axis=1)
        for f in features
        if f.buckets
    ]
    numbers = layers.Concatenate()([inputs[f.name] for f in features if not f.buckets])
    return tf_keras.Model(inputs, layers.Add()([*terms, layers.Dense(1, kernel_initializer="zeros")(numbers)]))


def _deep(features: Sequence[Feature], units: Sequence[int]) -> tf_keras.Model:
    inputs = _inputs(features)
    parts = []
    for f in features:
        x = inputs[f.name]
        if f.embedding_dim:
            x = tf.reduce_mean(layers.Embedding(f.buckets, f.embedding_dim)(x), axis=1)
        elif f.buckets:
            x = tf.one_hot(x[:, 0], f.buckets)
        parts.append(x)
    x = layers.Concatenate()(parts)
    for count in units:
        x = layers.Dense(count, activation="relu")(x)
    return tf_keras.Model(inputs, layers.Dense(1)(x))
