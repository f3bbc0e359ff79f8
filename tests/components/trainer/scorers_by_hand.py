"""A handful of features of every kind, and batches of them, for tests of the scorers."""

import numpy as np
import tensorflow as tf

from components.trainer.model import build_model
from schemas.config import ModelConfig
from schemas.features import Feature

AD = Feature("ad", "item", "id", "int64", "", buckets=5, embedding_dim=2)
TOPICS = Feature("topics", "item", "ids", "int64", "", buckets=4, embedding_dim=3, hotness=3)
HOUR = Feature("hour", "request", "indicator", "int64", "", buckets=3)
AGE = Feature("age", "item", "numeric", "float32", "", missing="zero")
CTR = Feature("ctr", "item", "numeric", "float32", "", missing="zero")
FEATURES = (AD, AGE, TOPICS, HOUR, CTR)

SEED = tf.constant([3, 5])


def batch(ad=(-1,), topics=((-1, -1, -1),), hour=(-1,), age=(0.0,), ctr=(0.0,)):
    return {
        "ad": tf.constant(ad, tf.int64),
        "topics": tf.constant(topics, tf.int64),
        "hour": tf.constant(hour, tf.int64),
        "age": tf.constant(age, tf.float32),
        "ctr": tf.constant(ctr, tf.float32),
    }


THREE_ROWS = batch(
    ad=[1, -1, 4], topics=[[1, -1, -1], [0, 2, 3], [-1, -1, -1]], hour=[2, 0, -1], age=[0.5, -1.0, 0.0], ctr=[0.1, 0.2, 0.9]
)


def randomize(model, seed=0):
    """Gives a model normal weights in the order of `weights`; batch norm's moments stay as they are."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if "moving_" not in variable.name:
            variable.assign(rng.normal(size=variable.shape))
    return model


def randomized(kind="wide_deep", hidden=(4,), **config):
    return randomize(build_model(FEATURES, ModelConfig(kind=kind, hidden_units=hidden, **config)))
