"""The wide & deep model, logit = wide(x) + deep(x) (Cheng et al. 2016, https://arxiv.org/abs/1606.07792), or one of its parts."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from components.trainer.rows import gather_rows
from components.trainer.scorers.contract import Scorer
from components.trainer.scorers.inputs import Embeddings, numbers, present, width
from components.trainer.scorers.tower import Group, Tower
from schemas.config import ModelConfig
from schemas.features import Feature


class Wide(tf_keras.layers.Layer):
    """The linear part: one weight a bucket (summed over a multi-hot's values), one a number, and a bias, all zero at first."""

    def __init__(self, features: Sequence[Feature], name: str = "wide"):
        super().__init__(name=name)
        self._categorical = [f for f in features if f.kind != "numeric"]
        self._numeric = [f for f in features if f.kind == "numeric"]

    def build(self, input_shape: object) -> None:
        self.bias = self.add_weight("bias", (), initializer="zeros")
        self.tables = {f.name: self.add_weight(f.name, (f.buckets, 1), initializer="zeros") for f in self._categorical}
        if self._numeric:
            self.numeric = self.add_weight("numeric", (len(self._numeric),), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the logit (n,)."""
        terms = []
        if self._categorical:
            # Slots are the values of all features side by side: (n, slots).
            ids = tf.concat([_as_columns(inputs[f.name]) for f in self._categorical], axis=1)
            slots = tf.split(tf.maximum(ids, 0), [f.hotness for f in self._categorical], axis=1)
            weights = [gather_rows(self.tables[f.name], own)[:, :, 0] for f, own in zip(self._categorical, slots, strict=True)]
            terms.append(tf.reduce_sum(tf.concat(weights, axis=1) * present(ids), axis=1))
        if self._numeric:
            terms.append(tf.linalg.matvec(numbers(inputs, self._numeric), self.numeric))
        return self.bias + tf.add_n(terms)


def _as_columns(ids: tf.Tensor) -> tf.Tensor:
    return ids[:, tf.newaxis] if ids.shape.rank == 1 else ids  # (n, h)


class Deep(tf_keras.layers.Layer):
    """The network: embeddings, one-hot indicators and numbers side by side, a tower of hidden layers on top."""

    def __init__(
        self, features: Sequence[Feature], config: ModelConfig, seed: int, compute_dtype: str, jit_compile: bool, name: str = "deep"
    ):
        super().__init__(name=name)
        embedded = [f for kinds in (("id", "ids"), ("indicator",)) for f in features if f.kind in kinds]
        self._numeric = [f for f in features if f.kind == "numeric"]
        self.embeddings = Embeddings(embedded, seed)
        self.tower = Tower(
            [Group(sum(map(width, features)), None)],
            config.hidden_units,
            1,
            config,
            seed,
            compute_dtype=compute_dtype,
            jit_compile=jit_compile,
        )

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
        weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the logit (n,)."""
        parts = self.embeddings(inputs)
        if self._numeric:
            parts = [*parts, numbers(inputs, self._numeric)]
        return self.tower([tf.concat(parts, axis=1)], training=training, seed=seed, weight=weight)[:, 0]


class WideDeep(Scorer):
    """Wide & deep (`wide_deep`), or one of both.

    Attributes:
        wide: The linear part, or None.
        deep: The network, or None.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        config: ModelConfig,
        seed: int,
        compute_dtype: str = "float32",
        jit_compile: bool = False,
    ):
        super().__init__(features)
        self.wide = None if config.kind == "deep" else Wide([f for f in features if f.wide])
        self.deep = None
        if config.kind != "wide":
            self.deep = Deep([f for f in features if f.deep], config, seed, compute_dtype, jit_compile)

    @property
    def wide_variables(self) -> list[tf.Variable]:
        """The linear part's variables."""
        return [] if self.wide is None else self.wide.trainable_variables

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
        weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the logit, float32 (n,): the sum of the parts. See `Scorer.call`."""
        logits = []
        if self.wide is not None:
            logits.append(self.wide(inputs))
        if self.deep is not None:
            logits.append(self.deep(inputs, training=training, seed=seed, weight=weight))
        return tf.add_n(logits)
