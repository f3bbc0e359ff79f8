"""Optimizers by name."""

import tf_keras

from schemas.config import OptimizerConfig

INITIAL_ACCUMULATOR = 0.1
"""First sum of squared gradients of FTRL and Adagrad, as in TensorFlow 1 and the reference model."""


def make_optimizer(config: OptimizerConfig) -> tf_keras.optimizers.Optimizer:
    """Returns a new optimizer; to be called within the strategy's scope.

    FTRL is that of McMahan et al. 2013 (https://research.google/pubs/pub41159/) with learning-rate power -0.5.
    All take the sparse gradients of embeddings; FTRL turns them into dense ones (the wide part has a scalar a bucket).
    """
    rate = config.learning_rate
    # One code path on CPU and GPU; XLA for a step is decided around the step, not inside of the optimizer.
    common = {"jit_compile": False}
    match config.name:
        case "ftrl":
            return tf_keras.optimizers.Ftrl(
                rate,
                learning_rate_power=-0.5,
                initial_accumulator_value=INITIAL_ACCUMULATOR,
                l1_regularization_strength=config.l1,
                l2_regularization_strength=config.l2,
                **common,
            )
        case "adagrad":
            return tf_keras.optimizers.Adagrad(rate, initial_accumulator_value=INITIAL_ACCUMULATOR, **common)
        case "adam":
            return tf_keras.optimizers.Adam(rate, **common)
        case "rmsprop":
            return tf_keras.optimizers.RMSprop(rate, **common)
        case "sgd":
            return tf_keras.optimizers.SGD(rate, **common)
