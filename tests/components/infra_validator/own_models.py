"""A model such as users write, of Keras' own layers; imported by name."""

import tensorflow as tf
import tf_keras


def attention(features, config):
    """Embeds the ids, lets them attend to each other, and puts numbers beside: the layers that people reach for."""
    layers = tf_keras.layers
    inputs = {
        f.name: tf_keras.Input(
            (f.hotness,) if f.kind == "ids" else (), name=f.name, dtype="float32" if f.kind == "numeric" else "int64"
        )
        for f in features
    }
    ids = [layers.Embedding(f.buckets + 1, 4)(inputs[f.name] + 1) for f in features if f.kind in ("id", "indicator")]
    lists = [
        layers.GlobalAveragePooling1D()(layers.Embedding(f.buckets + 1, 4, mask_zero=True)(inputs[f.name] + 1))
        for f in features
        if f.kind == "ids"
    ]
    x = _Stack()(ids + lists)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 2)(x, x))
    numbers = layers.Concatenate()([layers.Reshape((1,))(inputs[f.name]) for f in features if f.kind == "numeric"])
    x = layers.Concatenate()([layers.Flatten()(x), layers.BatchNormalization()(numbers)])
    x = layers.Dropout(0.1)(layers.Dense(8, activation="swish")(x))
    x = layers.Dense(8, activation="softmax")(x) * layers.Dense(8, activation=layers.PReLU())(x)
    return tf_keras.Model(inputs, layers.Dense(1)(x))


class _Stack(tf_keras.layers.Layer):
    def call(self, parts):
        return tf.stack(parts, axis=1)
