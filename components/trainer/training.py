"""The training loop: steps under any strategy with one replica a worker, evaluation, epochs, best weights."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from components.trainer.input import Batch
from components.trainer.scorers.contract import Scorer
from schemas.errors import ClickrankError, InputDataError

logger = logging.getLogger(__name__)

TrainStep = Callable[[Batch, tf.Tensor], tf.Tensor]
Evaluate = Callable[[Iterable[Batch]], tuple[float, float]]

AUC_BINS = 10_000
"""Probabilities closer than 1 / AUC_BINS may count as equal in the AUC."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to: means over rows, AUC over the eval split."""

    epoch: int
    steps: int
    train_loss: float
    eval_log_loss: float
    eval_auc: float
    seconds: float
    rows_per_second: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """The weights (in the order of `model.weights`) after the best epoch, and the record of every epoch."""

    weights: list[np.ndarray]
    best_epoch: int
    history: tuple[EpochRecord, ...]


def make_train_step(
    model: Scorer,
    wide_optimizer: tf_keras.optimizers.Optimizer,
    deep_optimizer: tf_keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy,
    seed: int = 0,
) -> TrainStep:
    """Returns the function that trains on this worker's part of a global batch and returns the loss.

    The loss is the sigmoid cross entropy's mean over the rows of the global batch, the same on all workers. `wide_optimizer`
    updates the wide part's variables, `deep_optimizer` the deep part's, both with the gradients of the cross entropy's sum over
    the rows of all workers, divided by the function's second argument. This is the size of a full batch, so that a row in the
    short last batch of an epoch weighs no more than any other; of a last batch of one row, the mean's gradient would throw the
    model off. `seed`, the step and the replica determine the dropout masks. To be called within the strategy's scope.
    """
    wide, deep = model.wide_variables, model.deep_variables
    parts = [(optimizer, variables) for optimizer, variables in ((wide_optimizer, wide), (deep_optimizer, deep)) if variables]
    for optimizer, variables in parts:
        optimizer.build(variables)  # creates the slots, which a tf.function could not under a strategy

    def dropout_seed() -> tf.Tensor:
        step = tf.cast(parts[0][0].iterations, tf.int32)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.random.experimental.stateless_fold_in(tf.stack([seed & 0x7FFFFFFF, step]), replica)  # (2,)

    def replica_step(batch: Batch, full_rows: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logit = model(batch.features, training=True, seed=dropout_seed(), weight=batch.weight)  # (size,)
            entropy = tf.nn.sigmoid_cross_entropy_with_logits(batch.label, logit)  # (size,)
            total = tf.reduce_sum(batch.weight * entropy)
            objective = total / tf.cast(full_rows, tf.float32)
        gradients = tape.gradient(objective, wide + deep)
        for optimizer, variables in parts:
            own, gradients = gradients[: len(variables)], gradients[len(variables) :]
            optimizer.apply_gradients(zip(own, variables, strict=True))  # sums over the workers
        return _sum_over_workers(total) / tf.cast(batch.rows, tf.float32)

    @tf.function(reduce_retracing=True)
    def train_step(batch: Batch, full_rows: tf.Tensor) -> tf.Tensor:
        return strategy.run(replica_step, args=(batch, full_rows))

    return lambda batch, full_rows: _local(strategy, train_step(batch, full_rows))


def make_evaluate(model: Scorer, strategy: tf.distribute.Strategy) -> Evaluate:
    """Returns the function that computes (log loss, AUC) over all rows of all workers' batches, the same on all workers."""

    def replica_step(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        logit = model(batch.features, training=False)
        loss = tf.reduce_sum(batch.weight * tf.nn.sigmoid_cross_entropy_with_logits(batch.label, logit))
        bins = tf.cast(tf.minimum(tf.sigmoid(logit) * AUC_BINS, AUC_BINS - 1), tf.int32)  # (size,)
        # (2, AUC_BINS): rows without and with a click by bin.
        counts = tf.stack(
            [tf.math.bincount(bins, weights=batch.weight * w, minlength=AUC_BINS) for w in (1.0 - batch.label, batch.label)]
        )
        return loss, counts

    @tf.function(reduce_retracing=True)
    def eval_step(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        return strategy.run(replica_step, args=(batch,))

    @tf.function
    def add_up(totals: tf.Tensor) -> tf.Tensor:
        return strategy.run(_sum_over_workers, args=(totals,))

    def evaluate(batches: Iterable[Batch]) -> tuple[float, float]:
        loss, counts = 0.0, np.zeros((2, AUC_BINS))
        for batch in batches:
            step_loss, step_counts = (_local(strategy, x) for x in eval_step(batch))
            loss += float(step_loss)
            counts += step_counts.numpy()
        totals = np.concatenate([[loss], counts.ravel()])
        totals = _local(strategy, add_up(tf.constant(totals, tf.float64))).numpy()
        counts = totals[1:].reshape(2, AUC_BINS)
        if not counts.sum():
            raise InputDataError("the eval split has no rows")
        return float(totals[0] / counts.sum()), auc(counts[0], counts[1])

    return evaluate


def auc(negatives: np.ndarray, positives: np.ndarray) -> float:
    """The probability that a positive scores higher than a negative, half of it for a tie; NaN without one of either.

    Args:
        negatives: Negatives by bin of the score, ascending, (bins,).
        positives: Positives, likewise.
    """
    below = np.cumsum(negatives) - negatives
    pairs = negatives.sum() * positives.sum()
    return float((positives * (below + negatives / 2)).sum() / pairs) if pairs else math.nan


def fit(
    model: Scorer,
    train_step: TrainStep,
    evaluate: Evaluate,
    train_data: Callable[[int], Iterable[Batch]],
    eval_data: Iterable[Batch],
    num_epochs: int,
    on_epoch: Callable[[EpochRecord], None],
) -> Fitted:
    """Trains for `num_epochs` and returns the weights of the epoch with the lowest eval log loss (the first such).

    Args:
        model: The model that `train_step` trains.
        train_step: From `make_train_step`.
        evaluate: From `make_evaluate`.
        train_data: Epoch (from 1) -> its batches.
        eval_data: The eval split's batches.
        num_epochs: Passes over the train split.
        on_epoch: Called after every epoch.

    Raises:
        ClickrankError: A loss is NaN or infinite; names the step.
        InputDataError: A split has no rows.
    """
    step = 0
    full_rows = tf.constant(0, tf.int64)
    history: list[EpochRecord] = []
    best, best_weights = math.inf, []
    for epoch in range(1, num_epochs + 1):
        start, loss, rows = time.monotonic(), 0.0, 0
        for batch in train_data(epoch):
            step += 1
            full_rows = tf.maximum(full_rows, batch.rows)  # the first batch is full, or all there is
            step_loss = float(train_step(batch, full_rows))  # waits for the step; a step is milliseconds, and NaN must not go on
            if not math.isfinite(step_loss):
                raise ClickrankError(f"the loss is {step_loss} at step {step} (epoch {epoch}); a lower learning rate may help")
            loss += step_loss * int(batch.rows)
            rows += int(batch.rows)
        if not rows:
            raise InputDataError("the train split has no rows")
        seconds = time.monotonic() - start
        log_loss, area = evaluate(eval_data)
        if not math.isfinite(log_loss):
            raise ClickrankError(f"the eval log loss is {log_loss} after step {step} (epoch {epoch})")
        record = EpochRecord(epoch, step, loss / rows, log_loss, area, seconds, rows / seconds)
        history.append(record)
        logger.info(
            "epoch %d/%d: %d steps, train loss %.5f, eval log loss %.5f, eval AUC %.5f, %.0f rows/s",
            *(epoch, num_epochs, step, record.train_loss, log_loss, area, record.rows_per_second),
        )
        if log_loss < best:
            best, best_epoch, best_weights = log_loss, epoch, model.get_weights()
        on_epoch(record)
    return Fitted(best_weights, best_epoch, tuple(history))


def _sum_over_workers(x: tf.Tensor) -> tf.Tensor:
    # A function's argument has no device, which the strategy would miss; a copy of it has.
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(x))


def _local(strategy: tf.distribute.Strategy, x: tf.Tensor) -> tf.Tensor:
    (value,) = strategy.experimental_local_results(x)
    return value
