"""Tiny SavedModels with the serving contract of the real one: serialised tf.Examples in, `score` out."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from schemas import serving


class _Scorer(tf.Module):
    def __init__(self, feature: str, weight: float, sigmoid: bool):
        super().__init__()
        self.sigmoid = sigmoid
        self.weight = tf.Variable(weight, dtype=tf.float32)
        self.feature = feature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {self.feature: tf.io.FixedLenFeature([], tf.float32, 0.0)}
        logit = self.weight * tf.io.parse_example(examples, spec)[self.feature]
        return {"score": tf.sigmoid(logit) if self.sigmoid else logit}


def save_scorer(
    directory: str | Path, feature: str = "pop_ad_id", weight: float = 1.0, sigmoid: bool = True, signature: str = "serving_default"
) -> Path:
    """Saves a model that scores an ad by sigmoid(weight * feature); a missing feature counts as 0.

    Without the sigmoid a row's score is the same to the last bit in a batch of any size.
    """
    model = _Scorer(feature, weight, sigmoid)
    tf.saved_model.save(model, str(directory), signatures={signature: model.serve})
    return Path(directory)


def pop_ad_id(examples: tf.Tensor) -> tf.Tensor:
    """A score in [0, 1]: the feature itself, 0 where it is missing."""
    return tf.io.parse_example(examples, {"pop_ad_id": tf.io.FixedLenFeature([], tf.float32, 0.0)})["pop_ad_id"]


def save_contract(
    directory: str | Path,
    score: Callable[[tf.Tensor], tf.Tensor] = pop_ad_id,
    rank: Callable[[tf.Tensor], tf.Tensor] | None = None,
    leave_out: str | None = None,
) -> Path:
    """Saves a model with the signatures of `schemas.serving`.

    Args:
        directory: Where to.
        score: Serialised Examples (n,) -> scores (n,).
        rank: Scores (n,) -> ranks (n,); by falling score unless given.
        leave_out: Name of a signature that is not saved.
    """
    by_score = rank or (lambda s: tf.argsort(tf.argsort(s, direction="DESCENDING", stable=True)) + 1)

    def ranked(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = score(examples)
        return {serving.SCORE: scores, serving.RANK: tf.cast(by_score(scores), tf.int64)}

    functions = {
        serving.SERVING_DEFAULT.name: lambda examples: {serving.SCORE: score(examples)},
        serving.RANK_DISPLAY.name: ranked,
    }
    signatures = {
        signature.name: tf.function(functions[signature.name], input_signature=[s.as_tf() for s in signature.inputs])
        for signature in serving.SIGNATURES
        if signature.name != leave_out
    }
    module = tf.Module()
    module.variable = tf.Variable(1.0)
    tf.saved_model.save(module, str(directory), signatures=signatures)
    return Path(directory)
