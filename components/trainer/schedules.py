"""Learning rates by step.

Step t counts from 0: `rate(t)` is what the (t+1)-th step uses. A warm-up of w steps rises linearly, learning_rate * t / w for
t < w, as in NVIDIA's recipe for wide & deep; so the rate of step 0 is 0, and that step fills slots only. From step w on, the
schedule of the configured kind starts, at s = t - w = 0.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf
import tf_keras

from schemas.config import OptimizerConfig, ScheduleConfig

Decay: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
"""From s, float64 (), to the rate, float64 ()."""


class Schedule(tf_keras.optimizers.schedules.LearningRateSchedule):
    """A warm-up, then a decay.

    Args:
        peak: Where the warm-up rises to.
        warmup_steps: Its length; 0 for none.
        decay: What follows it.
        updates_per_step: How many updates have the rate of one step.
    """

    def __init__(self, peak: float, warmup_steps: int, decay: Decay, updates_per_step: int = 1):
        self._peak, self._warmup_steps, self._decay, self._updates_per_step = peak, warmup_steps, decay, updates_per_step

    def __call__(self, update: tf.Tensor) -> tf.Tensor:
        """Returns the rate, float32 (), of an update, an integer () from 0."""
        t = tf.cast(update // self._updates_per_step, tf.float64)  # float32 would not tell steps apart from 2^24 on
        w = float(self._warmup_steps)
        rate = self._decay(tf.maximum(t - w, 0.0))
        if self._warmup_steps:
            rate = tf.where(t < w, self._peak * t / w, rate)
        return tf.cast(rate, tf.float32)


def make_schedule(config: OptimizerConfig, steps_per_epoch: int, total_steps: int, updates_per_step: int = 1) -> float | Schedule:
    """Returns the learning rate: a number if it never changes.

    With s steps since the warm-up, d decay steps (of cosine and polynomial all that are left, unless given), peak rate p and
    lowest rate m:

    * constant: p.
    * exponential: max(m, p * decay_rate ^ (s / d)); with `staircase`, s / d is rounded down.
    * cosine: m + (p - m) * (1 + cos(pi * min(s / d, 1))) / 2 (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983, one
      period).
    * polynomial: m + (p - m) * (1 - min(s / d, 1)) ^ power.
    * piecewise: `values[i]`, where i is the number of boundaries that are below s, as TensorFlow's PiecewiseConstantDecay: step
      `boundaries[0]` still has `values[0]`. p is only where the warm-up rises to.

    Args:
        config: The optimizer's keys.
        steps_per_epoch: Turns epochs into steps, rounded to the nearest; a decay or warm-up has at least one.
        total_steps: Of the whole training, unless it stops early.
        updates_per_step: What a step comes to.
    """
    schedule, peak = config.schedule, config.learning_rate
    warmup = _steps(schedule.warmup_steps, schedule.warmup_epochs, steps_per_epoch)
    if schedule.kind == "constant" and not warmup:
        return peak
    span = _steps(schedule.decay_steps, schedule.decay_epochs, steps_per_epoch) or max(1, total_steps - warmup)
    return Schedule(peak, warmup, _decay(schedule, peak, float(span), steps_per_epoch), updates_per_step)


def _steps(steps: int | None, epochs: float | None, steps_per_epoch: int) -> int:
    """The one of both that is given, in steps; 0 if none is."""
    if epochs is not None:
        return max(1, round(epochs * steps_per_epoch))
    return steps or 0


def _decay(schedule: ScheduleConfig, peak: float, span: float, steps_per_epoch: int) -> Decay:
    low = schedule.min_learning_rate or 0.0
    match schedule.kind:
        case "constant":
            return lambda s: tf.constant(peak, tf.float64)
        case "exponential":
            assert schedule.decay_rate is not None
            return _exponential(peak, schedule.decay_rate, span, schedule.staircase, low)
        case "cosine":
            return lambda s: low + (peak - low) * (1.0 + tf.cos(math.pi * tf.minimum(s / span, 1.0))) / 2.0
        case "polynomial":
            power = schedule.power or 1.0
            return lambda s: low + (peak - low) * (1.0 - tf.minimum(s / span, 1.0)) ** power
        case "piecewise":
            assert schedule.values is not None
            epochs = [epoch * steps_per_epoch for epoch in schedule.boundary_epochs or ()]
            return _piecewise(schedule.boundaries or [round(steps) for steps in epochs], schedule.values)


def _exponential(peak: float, factor: float, span: float, staircase: bool, low: float) -> Decay:
    def decay(s: tf.Tensor) -> tf.Tensor:
        periods = tf.floor(s / span) if staircase else s / span
        return tf.maximum(low, peak * tf.pow(tf.constant(factor, tf.float64), periods))

    return decay


def _piecewise(boundaries: Sequence[int], values: Sequence[float]) -> Decay:
    def decay(s: tf.Tensor) -> tf.Tensor:
        passed = tf.reduce_sum(tf.cast(s > tf.constant(boundaries, tf.float64), tf.int32))
        return tf.gather(tf.constant(values, tf.float64), passed)

    return decay
