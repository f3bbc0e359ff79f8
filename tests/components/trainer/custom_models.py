"""What users may write, and what they may get wrong; imported by name."""

from os import system  # noqa: F401  a name that is here, but not of here

import tensorflow as tf
import tf_keras

NOT_A_FUNCTION = 3


def vectors(features):
    """Symbolic inputs and what is made of them, by Keras' own layers."""
    inputs, parts = {}, []
    for f in features:
        numeric = f.kind == "numeric"
        inputs[f.name] = tf_keras.Input(
            (f.hotness,) if f.kind == "ids" else (), name=f.name, dtype="float32" if numeric else "int64"
        )
        if numeric:
            parts.append(tf_keras.layers.Reshape((1,))(inputs[f.name]))
    return inputs, tf_keras.layers.Concatenate()(parts)


def functional(features, config):
    inputs, x = vectors(features)
    x = tf_keras.layers.Dense(config.hidden_units[0], activation=config.activation)(x)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(1)(x))


def some_inputs(features, config):
    return functional([f for f in features if f.kind == "numeric"], config)


class Subclassed(tf_keras.Model):
    def __init__(self):
        super().__init__()
        self.scale = self.add_weight("scale", (), initializer="ones")

    def call(self, inputs, seed=None):
        noise = 0.0 if seed is None else tf.random.stateless_uniform(tf.shape(inputs["age"]), seed)
        return self.scale * inputs["age"] + noise


def subclassed(features, config):
    return Subclassed()


def lambdas(features, config):
    inputs, x = vectors(features)
    nested = tf_keras.Sequential([tf_keras.layers.Lambda(lambda t: t * 2, name="twice"), tf_keras.layers.Dense(1)])
    return tf_keras.Model(inputs, nested(x))


def too_wide(features, config):
    inputs, x = vectors(features)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(2)(x))


class Summed(Subclassed):
    def call(self, inputs):
        return tf.reduce_sum(inputs["age"], keepdims=True) * self.scale


def one_for_all(features, config):
    return Summed()


class Integers(Subclassed):
    def call(self, inputs):
        return tf.zeros_like(inputs["ad"])


def integers(features, config):
    return Integers()


def untrainable(features, config):
    model = Subclassed()
    model.trainable = False
    return model


def keras_3(features, config):
    import keras

    return keras.Sequential([keras.layers.Dense(1)])


def broken(features, config):
    raise KeyError("no_such_feature")


def nothing(features, config):
    return None
