"""Optimizers whose step on a sparse gradient reads and writes the rows of the batch, and no other row of a table or its slots.

tf_keras' optimizers pass over whole slots for sparse gradients (Adam, RMSprop, SGD) or make the gradient dense (FTRL), so that
a step takes longer the larger a table is. Here a row that is not in the batch keeps its weights and slots bit by bit. For FTRL,
Adagrad and SGD that is the dense rule: a gradient of 0 changes nothing. Adam, RMSprop and momentum decay their slots at each
step by the dense rule, here only at the steps that have the row, as TensorFlow Addons' LazyAdam did; they equal the dense rule
if every row is in every batch.

`apply_gradients` of the base class adds up the rows that come several times in a sparse gradient; `update_step` relies on it.
Slots are made by `build`, which must be called before a checkpoint is saved or restored.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import tensorflow as tf
import tf_keras

from components.trainer.rows import gather_rows

Rate: TypeAlias = float | tf_keras.optimizers.schedules.LearningRateSchedule
Slots: TypeAlias = Sequence[tf.Tensor]


class RowOptimizer(tf_keras.optimizers.Optimizer):
    """What all have in common: the rate and the slots.

    Args:
        name: Of the operations.
        learning_rate: A number or a schedule.
        slots: First value of each slot by its name. A slot has the shape and type of its variable.
    """

    def __init__(self, name: str, learning_rate: Rate, slots: Mapping[str, float]):
        # One code path on CPU and GPU; XLA for a step is decided around the step, not inside of the optimizer.
        super().__init__(name=name, weight_decay=None, jit_compile=False)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self._first_values = dict(slots)

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Creates the slots of all variables that will be trained."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        self._slots = [
            [
                self.add_variable_from_reference(
                    variable, name, initial_value=tf.fill(variable.shape, tf.cast(first, variable.dtype))
                )
                for name, first in self._first_values.items()
            ]
            for variable in var_list
        ]

    def slots_of(self, variable: tf.Variable) -> list[tf.Variable]:
        """Returns the slots of a variable, in the order of their names."""
        return self._slots[self._index_dict[self._var_key(variable)]]

    @abc.abstractmethod
    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Changes a variable and its slots; the rows of a sparse gradient must be distinct."""


class RuleOptimizer(RowOptimizer):
    """An optimizer by an elementwise rule, the same for whole variables and for rows.

    Attributes:
        l2: L2 strength: `l2` w is added to the gradient; of a sparse one, to the rows of the batch.
    """

    l2 = 0.0

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        slots = self.slots_of(variable)
        rate = tf.cast(self.learning_rate, variable.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            rows = gradient.indices  # (r,)
            slope = gradient.values + self.l2 * gather_rows(variable, rows) if self.l2 else gradient.values
            step, values = self.rule(slope, rate, [gather_rows(slot, rows) for slot in slots])
            for slot, value in zip(slots, values, strict=True):
                slot.scatter_update(tf.IndexedSlices(value, rows))
            variable.scatter_sub(tf.IndexedSlices(step, rows))
        else:
            slope = gradient + self.l2 * variable if self.l2 else gradient
            step, values = self.rule(slope, rate, [tf.convert_to_tensor(slot) for slot in slots])
            for slot, value in zip(slots, values, strict=True):
                slot.assign(value)
            variable.assign_sub(step)

    @abc.abstractmethod
    def rule(self, gradient: tf.Tensor, rate: tf.Tensor, slots: Slots) -> tuple[tf.Tensor, Slots]:
        """Returns what is subtracted from the weights, and the slots' new values; all of the gradient's shape."""


class Sgd(RuleOptimizer):
    """w -= lr g. No slots."""

    def __init__(self, learning_rate: Rate):
        super().__init__("sgd", learning_rate, {})

    def rule(self, gradient: tf.Tensor, rate: tf.Tensor, slots: Slots) -> tuple[tf.Tensor, Slots]:
        return rate * gradient, ()


class Momentum(RuleOptimizer):
    """m = momentum m + lr g; w -= m."""

    def __init__(self, learning_rate: Rate, momentum: float = 0.9):
        super().__init__("momentum", learning_rate, {"m": 0.0})
        self._momentum = momentum

    def rule(self, gradient: tf.Tensor, rate: tf.Tensor, slots: Slots) -> tuple[tf.Tensor, Slots]:
        step = self._momentum * slots[0] + rate * gradient
        return step, (step,)


class Adagrad(RuleOptimizer):
    """n += g^2; w -= lr g / sqrt(n + epsilon) (Duchi et al. 2011, https://jmlr.org/papers/v12/duchi11a.html)."""

    def __init__(self, learning_rate: Rate, initial_accumulator: float = 0.1, epsilon: float = 1e-7):
        super().__init__("adagrad", learning_rate, {"accumulator": initial_accumulator})
        self._epsilon = epsilon

    def rule(self, gradient: tf.Tensor, rate: tf.Tensor, slots: Slots) -> tuple[tf.Tensor, Slots]:
        accumulator = slots[0] + tf.square(gradient)
        return rate * gradient / tf.sqrt(accumulator + self._epsilon), (accumulator,)


class Adam(RuleOptimizer):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon).

    Kingma & Ba 2015 (https://arxiv.org/abs/1412.6980), with epsilon as in the text before its section 2.1. t counts all steps from
    1, also for a row that comes for the first time.
    """

    def __init__(self, learning_rate: Rate, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7, l2: float = 0.0):
        super().__init__("adam", learning_rate, {"m": 0.0, "v": 0.0})
        self.l2 = l2
        self._beta_1, self._beta_2, self._epsilon = beta_1, beta_2, epsilon

    def rule(self, gradient: tf.Tensor, rate: tf.Tensor, slots: Slots) -> tuple[tf.Tensor, Slots]:
        t = tf.cast(self.iterations + 1, gradient.dtype)
        m = slots[0] + (gradient - slots[0]) * (1.0 - self._beta_1)
        v = slots[1] + (tf.square(gradient) - slots[1]) * (1.0 - self._beta_2)
        rate = rate * tf.sqrt(1.0 - tf.pow(self._beta_2, t)) / (1.0 - tf.pow(self._beta_1, t))
        return rate * m / (tf.sqrt(v) + self._epsilon), (m, v)


class RmsProp(RuleOptimizer):
    """v = rho v + (1 - rho) g^2; w -= lr g / sqrt(v + epsilon); with momentum, m = momentum m + lr g / sqrt(...); w -= m.

    Tieleman & Hinton 2012, lecture 6.5 of Neural Networks for Machine Learning.
    """

    def __init__(self, learning_rate: Rate, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7):
        super().__init__("rmsprop", learning_rate, {"v": 0.0, "m": 0.0} if momentum else {"v": 0.0})
        self._rho, self._momentum, self._epsilon = rho, momentum, epsilon

    def rule(self, gradient: tf.Tensor, rate: tf.Tensor, slots: Slots) -> tuple[tf.Tensor, Slots]:
        v = self._rho * slots[0] + (1.0 - self._rho) * tf.square(gradient)
        step = rate * gradient * tf.math.rsqrt(v + self._epsilon)
        if not self._momentum:
            return step, (v,)
        step = self._momentum * slots[1] + step
        return step, (v, step)


class Ftrl(RowOptimizer):
    """FTRL-Proximal with learning-rate power -0.5 (McMahan et al. 2013, https://research.google/pubs/pub41159/).

    n' = n + g^2; z += lr g - (sqrt(n') - sqrt(n)) w; w = -sign(z) max(|z| - lr l1, 0) / (sqrt(n') + 2 lr l2).

    z is the paper's multiplied by the learning rate, and l2 half of the paper's lambda_2. At a constant rate that is the paper's
    rule, and tf_keras'. It also stands a rate that changes: where z is not multiplied, w is divided by the rate at which it was
    learned and multiplied by the present one, so that a decay shrinks all weights, and a warm-up that starts at 0 makes them NaN.
    Weights that do not start at 0 are lost at their first step, as in the paper: w follows from n and z alone.
    """

    def __init__(self, learning_rate: Rate, initial_accumulator: float = 0.1, l1: float = 0.0, l2: float = 0.0):
        super().__init__("ftrl", learning_rate, {"accumulator": initial_accumulator, "linear": 0.0})
        self._l1, self._l2 = l1, l2

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        accumulator, linear = self.slots_of(variable)
        common = {
            "var": variable.handle,
            "accum": accumulator.handle,
            "linear": linear.handle,
            "lr": tf.cast(self.learning_rate, variable.dtype),
            "l1": tf.cast(self._l1, variable.dtype),
            "l2": tf.cast(self._l2, variable.dtype),
            "l2_shrinkage": tf.cast(0.0, variable.dtype),
            "lr_power": tf.cast(-0.5, variable.dtype),
            "multiply_linear_by_lr": True,
        }
        if isinstance(gradient, tf.IndexedSlices):
            tf.raw_ops.ResourceSparseApplyFtrlV2(grad=gradient.values, indices=gradient.indices, **common)
        else:
            tf.raw_ops.ResourceApplyFtrlV2(grad=gradient, **common)
