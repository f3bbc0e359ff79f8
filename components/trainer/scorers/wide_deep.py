"""The wide & deep model, logit = wide(x) + deep(x) (Cheng et al. 2016, https://arxiv.org/abs/1606.07792), or one of its parts."""

from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras

from components.trainer.rows import gather_rows
from components.trainer.scorers.contract import Scorer
from components.trainer.scorers.inputs import Embeddings, numbers, present, width
from components.trainer.scorers.tower import Group, Tower
from schemas.config import ModelConfig
from schemas.features import MISSING_ID, Feature

_MULTIPLIER, _MODULUS = 2_654_435_761, (1 << 31) - 1
"""2^32 by the golden ratio; a prime, so that all of a number decides its bucket."""


class Wide(tf_keras.layers.Layer):
    """The linear part: one weight a bucket (summed over a multi-hot's values), one a bucket of each cross, one a number, a bias;
    all zero at first.

    Args:
        features: What it sees.
        crosses: Names of two single-valued features each. A cross is present where both are; see `cross`.
        cross_buckets: Buckets of each cross.
    """

    def __init__(
        self, features: Sequence[Feature], crosses: Sequence[tuple[str, str]] = (), cross_buckets: int = 1, name: str = "wide"
    ):
        super().__init__(name=name)
        by_name = {f.name: f for f in features}
        self._categorical = [f for f in features if f.kind != "numeric"]
        self._numeric = [f for f in features if f.kind == "numeric"]
        self._crosses = [(by_name[one], by_name[other]) for one, other in crosses]
        self._cross_buckets = cross_buckets

    def build(self, input_shape: object) -> None:
        self.bias = self.add_weight("bias", (), initializer="zeros")
        self.tables = {f.name: self.add_weight(f.name, (f.buckets, 1), initializer="zeros") for f in self._categorical}
        self.cross_tables = {
            name: self.add_weight(name, (self._cross_buckets, 1), initializer="zeros") for name in map(_cross_name, self._crosses)
        }
        if self._numeric:
            self.numeric = self.add_weight("numeric", (len(self._numeric),), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the logit (n,)."""
        # Each feature's table with its values, and so each cross's.
        slots = [(self.tables[f.name], _as_columns(inputs[f.name])) for f in self._categorical]
        slots += [
            (self.cross_tables[_cross_name(pair)], _as_columns(cross(*pair, inputs, self._cross_buckets))) for pair in self._crosses
        ]
        terms = []
        if slots:
            # Masked all at once: (n, slots).
            weights = tf.concat([gather_rows(table, tf.maximum(ids, 0))[:, :, 0] for table, ids in slots], axis=1)
            there = tf.concat([tf.cast(ids, tf.int32) for _, ids in slots], axis=1)
            terms.append(tf.reduce_sum(weights * present(there), axis=1))
        if self._numeric:
            terms.append(tf.linalg.matvec(numbers(inputs, self._numeric), self.numeric))
        return self.bias + tf.add_n(terms)


def cross(one: Feature, other: Feature, inputs: Mapping[str, tf.Tensor], buckets: int) -> tf.Tensor:
    """Returns the bucket of each row's combination of two features, int64 (n,), `MISSING_ID` unless both are there.

    The number of a combination is unique; if there are more of them than buckets, it is hashed by multiplication (Knuth 1998, The
    Art of Computer Programming 3, 6.4).
    """
    first, second = (tf.cast(inputs[f.name], tf.int64) for f in (one, other))
    number = first * other.buckets + second
    if one.buckets * other.buckets > buckets:
        number = number % _MODULUS * _MULTIPLIER % _MODULUS % buckets
    return tf.where((first >= 0) & (second >= 0), number, tf.constant(MISSING_ID, tf.int64))


def _cross_name(pair: tuple[Feature, Feature]) -> str:
    return f"{pair[0].name}_x_{pair[1].name}"


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
    ) -> tf.Tensor:
        """Returns the logit (n,)."""
        parts = self.embeddings(inputs)
        if self._numeric:
            parts = [*parts, numbers(inputs, self._numeric)]
        return self.tower([tf.concat(parts, axis=1)], training=training, seed=seed)[:, 0]


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
        self.wide = None if config.kind == "deep" else Wide([f for f in features if f.wide], config.crosses, config.cross_buckets)
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
    ) -> tf.Tensor:
        """Returns the logit, float32 (n,): the sum of the parts. See `Scorer.call`."""
        logits = []
        if self.wide is not None:
            logits.append(self.wide(inputs))
        if self.deep is not None:
            logits.append(self.deep(inputs, training=training, seed=seed))
        return tf.add_n(logits)
