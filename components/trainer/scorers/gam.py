"""A generalized additive model (Zhuang et al. 2020, "Interpretable Learning-to-Rank with Generalized Additive Models",
https://arxiv.org/abs/2005.02553): the logit is a weighted sum of sub-scores, each a function of one item-level feature alone.

    logit = sum over i of w_i(q) f_i(x_i),    w_i(q) = sum over j of softmax(g_j(q_j))_i

f_i is a tower with one output for item feature i, g_j one with an output for each item feature, for request feature j. Without
request features all w_i are 1. TensorFlow Ranking's `GAMScorer` is the same.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from components.trainer.scorers.contract import Scorer
from components.trainer.scorers.inputs import Embeddings, width
from components.trainer.scorers.tower import Group, Tower
from schemas.config import ModelConfig
from schemas.errors import ConfigError
from schemas.features import Feature


class Gam(Scorer):
    """The additive model (`gam`). All towers of a level are one stack, (features, n, units).

    Attributes:
        item_features: What has a sub-score, in the order of the sub-scores.
        request_features: What weights them.
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
        groups = {level: _by_width([f for f in features if f.level == level]) for level in ("item", "request")}
        if not groups["item"]:
            raise ConfigError("model.kind=gam scores features of items, and encoding.drop leaves none")
        self.item_features = tuple(f for group in groups["item"] for f in group)
        self.request_features = tuple(f for group in groups["request"] for f in group)
        self._sizes = {level: [len(group) for group in found] for level, found in groups.items()}
        units = config.gam_hidden_units

        def tower(level: str, outputs: int, first_index: int) -> Tower:
            stacks = [Group(width(group[0]), tuple(f.name for f in group)) for group in groups[level]]
            return Tower(
                stacks,
                units,
                outputs,
                config,
                seed,
                compute_dtype=compute_dtype,
                jit_compile=jit_compile,
                first_index=first_index,
                name=f"{level}_towers",
            )

        self.item_vectors = Embeddings(self.item_features, seed, "item_vectors")
        self.item_towers = tower("item", 1, 0)
        if self.request_features:
            self.request_vectors = Embeddings(self.request_features, seed, "request_vectors")
            self.request_towers = tower("request", len(self.item_features), len(units))

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the logit, float32 (n,). See `Scorer.call`."""
        return tf.reduce_sum(self.sub_scores(inputs, training, seed), axis=1)

    def sub_scores(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns what each of `item_features` adds to the logit, weights included: float32 (n, features). See `Scorer.call`."""
        stacks = self._stacks("item", self.item_vectors(inputs))
        scores = tf.transpose(self.item_towers(stacks, training, seed)[:, :, 0])  # (n, features)
        if not self.request_features:
            return scores
        stacks = self._stacks("request", self.request_vectors(inputs))
        votes = self.request_towers(stacks, training, seed)  # (request features, n, features)
        return scores * tf.reduce_sum(tf.nn.softmax(votes), axis=0)

    def _stacks(self, level: str, vectors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Stacks the vectors of each group: (features of the group, n, width)."""
        ends = [sum(self._sizes[level][: i + 1]) for i in range(len(self._sizes[level]))]
        return [tf.stack(vectors[end - size : end]) for end, size in zip(ends, self._sizes[level], strict=True)]


def _by_width(features: Sequence[Feature]) -> list[list[Feature]]:
    """Returns the features with vectors of equal width together, narrow ones first, in their order within a group."""
    return [[f for f in features if width(f) == size] for size in sorted(set(map(width, features)))]
