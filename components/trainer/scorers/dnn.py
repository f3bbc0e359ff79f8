"""The network of TensorFlow Ranking's `DNNScorer` (https://github.com/tensorflow/ranking): all inputs side by side, one tower."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from components.trainer.scorers.contract import Scorer
from components.trainer.scorers.wide_deep import Deep
from schemas.config import ModelConfig
from schemas.features import Feature


class Dnn(Scorer):
    """A network alone (`dnn`). Unlike `deep`, it sees all inputs, whichever part of wide & deep the feature table gives them to."""

    def __init__(
        self,
        features: Sequence[Feature],
        config: ModelConfig,
        seed: int,
        compute_dtype: str = "float32",
        jit_compile: bool = False,
    ):
        super().__init__(features)
        self.deep = Deep(features, config, seed, compute_dtype, jit_compile)

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the logit, float32 (n,). See `Scorer.call`."""
        return self.deep(inputs, training=training, seed=seed)
