"""Tiny SavedModels with the serving contract of the real one: serialised tf.Examples in, `score` out."""

from pathlib import Path

import tensorflow as tf


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
