"""What every kind of model is to the training loop, the exporter and the Evaluator."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from schemas.features import Feature


class Scorer(tf_keras.Model):
    """Model inputs -> the logit of a click, row by row.

    Every trainable variable is in exactly one of `wide_variables` and `deep_variables`. Further variables (moments of batch
    norm) are state that a step in training updates; `weights` has all of them, in a fixed order.

    Attributes:
        features: The inputs, in the order of the feature table.
    """

    def __init__(self, features: Sequence[Feature]):
        super().__init__(name="clickrank")
        self.features = tuple(features)

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the logit, float32 (n,).

        Args:
            inputs: By feature, the outputs of Transform: int64 (n,) or (n, hotness) with `MISSING_ID` for what is absent,
                float32 (n,) for numbers.
            training: Whether dropout is on, and batch norm takes the moments of this batch.
            seed: int32 (2,), determines the dropout masks: an own one for every step and replica.

        Raises:
            ValueError: In training with dropout, `seed` is None.
        """
        raise NotImplementedError

    @property
    def wide_variables(self) -> list[tf.Variable]:
        """What the wide optimizer updates."""
        return []

    @property
    def deep_variables(self) -> list[tf.Variable]:
        """What the deep optimizer updates: all other trainable variables."""
        wide = {id(v) for v in self.wide_variables}
        return [v for v in self.trainable_variables if id(v) not in wide]


def zero_inputs(features: Sequence[Feature], rows: int = 1) -> dict[str, tf.Tensor]:
    """Returns inputs of the right shapes and types, all zero."""
    shapes = {f.name: (rows, f.hotness) if f.kind == "ids" else (rows,) for f in features}
    return {f.name: tf.zeros(shapes[f.name], tf.float32 if f.kind == "numeric" else tf.int64) for f in features}
