"""Hidden layers on vectors: one network, or many of the same shape side by side in one matmul.

Shape comments: n rows; a stack of towers has its members in front, (members, n, units).
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
import tf_keras

from components.trainer.scorers.inputs import variable_seed
from schemas.config import ModelConfig

_EPSILON = 1e-3
"""Added to a variance before its root is taken; Keras' own."""


class Group(NamedTuple):
    """Towers whose inputs have the same width: their names, or None for a network on its own, which has no stack."""

    width: int
    members: tuple[str, ...] | None


class Linear(tf_keras.layers.Layer):
    """x (..., n, width) -> x @ kernel + bias, (..., n, units), in the type of x.

    A kernel starts Glorot uniform, each member's by a seed of its own; biases are zero.
    """

    def __init__(self, group: Group, units: int, seed: int, name: str):
        super().__init__(name=name, autocast=False)
        self._group, self._units, self._init_seed = group, units, seed

    def build(self, input_shape: object) -> None:
        stack = _stack_shape(self._group)
        self.kernel = self.add_weight("kernel", (*stack[:1], self._group.width, self._units), initializer=self._glorot)
        self.bias = self.add_weight("bias", (*stack, self._units), initializer="zeros")
        super().build(input_shape)

    def _glorot(self, shape: Sequence[int], dtype: tf.DType, **_: object) -> tf.Tensor:
        def one(name: str) -> tf.Tensor:
            return tf_keras.initializers.GlorotUniform(variable_seed(self._init_seed, name))(shape[-2:], dtype)

        if self._group.members is None:
            return one(self.name)
        return tf.stack([one(f"{self.name}/{member}") for member in self._group.members])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns (..., n, units)."""
        x, bias = tf.matmul(x, tf.cast(self.kernel, x.dtype)), tf.cast(self.bias, x.dtype)
        return x + bias if bias.shape.rank > 1 else tf.nn.bias_add(x, bias)  # bias_add is fused with matmul, but has one bias only


class BatchNorm(tf_keras.layers.Layer):
    """Batch normalization (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167) over the rows, computed in float32.

    The moments are those of the rows of all replicas: a step normalizes by the same numbers at any number of workers. Outside of
    training their moving averages are used.
    """

    def __init__(self, group: Group, units: int, momentum: float, name: str):
        super().__init__(name=name, autocast=False)
        self._shape, self._momentum = (*_stack_shape(group), units), momentum

    def build(self, input_shape: object) -> None:
        # The same on all replicas, since the moments are.
        state = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.gamma = self.add_weight("gamma", self._shape, initializer="ones")
        self.beta = self.add_weight("beta", self._shape, initializer="zeros")
        self.moving_mean = self.add_weight("moving_mean", self._shape, initializer="zeros", **state)
        self.moving_variance = self.add_weight("moving_variance", self._shape, initializer="ones", **state)
        super().build(input_shape)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns gamma * (x - mean) / sqrt(variance + epsilon) + beta in the shape and type of x, (..., n, units)."""
        wide = tf.cast(x, tf.float32)
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = self._moments(wide)
            for state, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                state.assign(state * self._momentum + now * (1.0 - self._momentum))
        scale = tf.math.rsqrt(variance + _EPSILON) * self.gamma
        return tf.cast((wide - mean) * scale + self.beta, x.dtype)

    def _moments(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.cast(tf.shape(x)[-2], tf.float32)  # may be 0 on a replica at the end of an epoch
        count = tf.maximum(_over_replicas(rows), 1.0)
        mean = _over_replicas(tf.reduce_sum(x, axis=-2, keepdims=True)) / count  # (..., 1, units)
        squares = tf.math.squared_difference(x, mean)
        variance = _over_replicas(tf.reduce_sum(squares, axis=-2, keepdims=True)) / count
        return tf.reshape(mean, self._shape), tf.reshape(variance, self._shape)


def _stack_shape(group: Group) -> tuple[int, ...]:
    return () if group.members is None else (len(group.members), 1)


def _over_replicas(x: tf.Tensor) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


class Tower(tf_keras.layers.Layer):
    """[batch norm] -> (linear -> [batch norm] -> activation -> [dropout]) for each hidden layer -> linear.

    Hidden layers compute in `compute_dtype`; variables, batch norm and the output layer are float32.

    Dropout masks are determined by the caller's seed and the layer's index, so that a step that is done again drops the same
    units, and replicas with seeds of their own drop different ones.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        units: Sequence[int],
        outputs: int,
        config: ModelConfig,
        seed: int,
        *,
        compute_dtype: str = "float32",
        jit_compile: bool = False,
        first_index: int = 0,
        name: str = "tower",
    ):
        """
        Args:
            groups: One for each input.
            units: Widths of the hidden layers.
            outputs: Width of the output.
            config: Activation, dropout and batch norm are taken from it.
            seed: Of the initial weights.
            compute_dtype: float32, bfloat16 or float16.
            jit_compile: Whether graphs compile the tower by XLA. Only the tower: sparse gradients of embeddings cannot be.
            first_index: Index of the first hidden layer's dropout, where a model has several towers.
            name: Of the layer.
        """
        super().__init__(name=name, autocast=False)
        self._compute_type = tf.as_dtype(compute_dtype if units else "float32")
        self._activation = tf_keras.activations.get(config.activation)
        self._dropout, self._first_index = config.dropout, first_index
        self._compiled = tf.function(self._layers_of, jit_compile=True) if jit_compile else None
        momentum = config.batch_norm_momentum
        names = [*(f"hidden_{i}" for i in range(len(units))), "output"]
        sizes = [*units, outputs]
        suffixes = [f"_{i}" if group.members is not None else "" for i, group in enumerate(groups)]
        whole = Group(0, None if groups[0].members is None else tuple(m for group in groups for m in group.members or ()))

        self._input_norms = []
        if config.input_batch_norm:
            self._input_norms = [BatchNorm(g, g.width, momentum, f"input_norm{s}") for g, s in zip(groups, suffixes, strict=True)]
        self._first = [Linear(g, sizes[0], seed, names[0] + s) for g, s in zip(groups, suffixes, strict=True)]
        self._rest = [
            Linear(whole._replace(width=before), after, seed, name)
            for before, after, name in zip(units, sizes[1:], names[1:], strict=True)
        ]
        self._norms = []
        if config.batch_norm:
            self._norms = [BatchNorm(whole, count, momentum, f"norm_{i}") for i, count in enumerate(units)]

    def call(
        self,
        inputs: Sequence[tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns float32 (..., n, outputs).

        Args:
            inputs: By group, float32 (n, width) or (members, n, width).
            training: See `Scorer.call`, as for the rest.
            seed: int32 (2,).

        Raises:
            ValueError: In training with dropout, `seed` is None.
        """
        if training and self._dropout and seed is None:
            raise ValueError(f"training with dropout {self._dropout} needs a seed, int32 (2,). Received: seed=None")
        # Eager calls only create variables or look at a few rows.
        run = self._layers_of if self._compiled is None or tf.executing_eagerly() else self._compiled
        return run(list(inputs), training, seed)

    def _layers_of(self, inputs: list[tf.Tensor], training: bool, seed: tf.Tensor | None) -> tf.Tensor:
        if self._input_norms:
            inputs = [norm(x, training) for norm, x in zip(self._input_norms, inputs, strict=True)]
        # (n, units), or (members, n, units) with the groups' members behind each other.
        x = tf.concat([linear(tf.cast(x, self._compute_type)) for linear, x in zip(self._first, inputs, strict=True)], axis=0)
        for i, linear in enumerate(self._rest):
            if self._norms:
                x = self._norms[i](x, training)
            x = self._activation(x)
            if training and self._dropout:
                own = tf.random.experimental.stateless_fold_in(seed, self._first_index + i)
                x = tf.nn.experimental.stateless_dropout(x, self._dropout, own, rng_alg="philox")
            is_output = i == len(self._rest) - 1
            x = linear(tf.cast(x, tf.float32) if is_output else x)
        return x
