"""One step of training and one pass of evaluation."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from components.trainer.evaluation import EvalMetrics, evaluate
from components.trainer.gradients import aggregate, clip_by_global_norm
from components.trainer.input import Batch, Reader, unpack
from components.trainer.losses.mix import LossMix
from components.trainer.scorers.contract import Scorer
from schemas.records import RecordLayout

ReplicaStep = Callable[[Batch, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
TrainStep = Callable[[Sequence[Batch], int], tuple[tf.Tensor, tf.Tensor]]
Evaluate = Callable[[], EvalMetrics]


class Parts:
    """What a step changes: the model, its optimizers, the losses' own variables; to be made within the strategy's scope.

    Args:
        model: The scorer.
        wide_optimizer: Updates `model.wide_variables`.
        deep_optimizer: Updates `model.deep_variables` and the losses' variables.
        losses: The objective.
        float16: Whether the loss is scaled so that small gradients survive; the scale adapts itself, and a step whose gradients
            overflow changes nothing in the deep part.
    """

    def __init__(
        self,
        model: Scorer,
        wide_optimizer: tf_keras.optimizers.Optimizer,
        deep_optimizer: tf_keras.optimizers.Optimizer,
        losses: LossMix,
        *,
        float16: bool = False,
    ):
        self.model, self.losses = model, losses
        self.wide_optimizer = wide_optimizer
        self.deep_optimizer = tf_keras.mixed_precision.LossScaleOptimizer(deep_optimizer) if float16 else deep_optimizer
        self.float16 = float16
        self.wide = list(model.wide_variables)
        self.deep = [*model.deep_variables, *losses.trainable_variables]
        # The slots, which a tf.function could not create under a strategy.
        for optimizer, variables in ((wide_optimizer, self.wide), (deep_optimizer, self.deep)):
            if variables:
                optimizer.build(variables)


def make_replica_step(
    parts: Parts,
    layout: RecordLayout,
    *,
    replicas: int = 1,
    full_rows: float,
    seed: int = 0,
    clip_norm: float | None = None,
) -> ReplicaStep:
    """Returns what a replica does with its part of a batch; to be called in replica context, by all that step together.

    It takes the part and a number, int32 (), that no other part of the training has. It returns this replica's share of the
    objective and the rows of all replicas, float32 (). Gradients are those of the objective times rows / `full_rows`: a row in the
    short last batch of an epoch weighs no more than any other; of a last batch of one row, the mean's gradient would throw the
    model off.

    Args:
        parts: What is trained.
        layout: Of the batches' blocks.
        replicas: How many step together.
        full_rows: Rows of a full batch over all of them.
        seed: With the part's number, determines dropout.
        clip_norm: Bound on the global norm of the gradients.
    """
    model, losses = parts.model, parts.losses

    def replica_step(batch: Batch, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, labels = unpack(batch.blocks, layout)
        rows = sum_over_replicas(tf.cast(tf.size(labels), tf.float32))
        mask_seed = tf.stack([tf.constant(seed, tf.int32), number])
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(parts.wide + parts.deep)  # it does not see what `gather_rows` reads
            logits = model(inputs, training=True, seed=mask_seed)  # (n,)
            share = losses(labels, logits, tf.ones_like(labels), batch.display, across=sum_over_replicas, replicas=replicas)
            objective = share * (rows / full_rows)
            if parts.float16:
                objective = parts.deep_optimizer.get_scaled_loss(objective)
        gradients = tape.gradient(objective, parts.wide + parts.deep)
        if parts.float16:
            gradients = parts.deep_optimizer.get_unscaled_gradients(gradients)
        gradients = aggregate(gradients)
        if clip_norm is not None:
            gradients, _ = clip_by_global_norm(gradients, clip_norm)
        wide, deep = gradients[: len(parts.wide)], gradients[len(parts.wide) :]
        for optimizer, own, variables in ((parts.wide_optimizer, wide, parts.wide), (parts.deep_optimizer, deep, parts.deep)):
            if variables:
                optimizer.apply_gradients(zip(own, variables, strict=True), skip_gradients_aggregation=True)
        return share, rows

    return replica_step


def make_train_step(
    parts: Parts,
    strategy: tf.distribute.Strategy,
    layout: RecordLayout,
    *,
    full_rows: int,
    seed: int = 0,
    clip_norm: float | None = None,
) -> TrainStep:
    """Returns the function that trains on a step's batches, one for each replica of this process, the step's number given.

    It returns the objective of the global batch and its number of rows, float32 (), the same on all workers.

    Args:
        parts: What is trained.
        strategy: One whose replicas step together.
        layout: Of the batches' blocks.
        full_rows: Rows of a full global batch.
        seed: With the step and the replica, determines dropout.
        clip_norm: Bound on the global norm of the gradients.
    """
    replicas = strategy.num_replicas_in_sync
    replica_step = make_replica_step(parts, layout, replicas=replicas, full_rows=full_rows, seed=seed, clip_norm=clip_norm)

    def numbered_step(batch: Batch, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        share, rows = replica_step(batch, step * replicas + tf.cast(replica, tf.int32))
        return sum_over_replicas(share), rows

    @tf.function(reduce_retracing=True, autograph=False)
    def train_step(batch: Batch, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return strategy.run(numbered_step, args=(batch, step))

    def run(batches: Sequence[Batch], step: int) -> tuple[tf.Tensor, tf.Tensor]:
        loss, rows = train_step(_per_replica(strategy, batches), tf.constant(step, tf.int32))
        return _first(strategy, loss), _first(strategy, rows)

    return run


def make_evaluate(model: Scorer, strategy: tf.distribute.Strategy, layout: RecordLayout, readers: Sequence[Reader]) -> Evaluate:
    """Returns the function that evaluates the model on a whole split; the metrics are the same on all workers.

    Args:
        model: The scorer.
        strategy: The strategy.
        layout: Of the batches' blocks.
        readers: Of the split, by display, one for each replica of this process.
    """

    def replica_score(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, labels = unpack(batch.blocks, layout)
        return model(inputs, training=False), labels

    @tf.function(reduce_retracing=True, autograph=False)
    def score(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        return strategy.run(replica_score, args=(batch,))

    add_up = make_sum_over_workers(strategy, len(readers))

    def scored() -> Iterator[list[tuple[npt.NDArray, npt.NDArray, npt.NDArray]]]:
        for batches in zip(*(reader.epoch() for reader in readers), strict=True):
            logits, labels = (strategy.experimental_local_results(x) for x in score(_per_replica(strategy, batches)))
            yield [(x.numpy(), y.numpy(), b.display.numpy()) for x, y, b in zip(logits, labels, batches, strict=True)]

    return lambda: evaluate(scored(), add_up)


def make_sum_over_workers(
    strategy: tf.distribute.Strategy, local_replicas: int
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Returns the function that adds up the vectors of all workers; to be called by all of them, outside of replica context.

    Args:
        strategy: The strategy.
        local_replicas: Replicas of this process, each of which adds its share of the vector.
    """

    @tf.function(autograph=False)
    def add_up(share: tf.Tensor) -> tf.Tensor:
        return strategy.run(sum_over_replicas, args=(share,))

    return lambda vector: _first(strategy, add_up(tf.constant(vector / local_replicas))).numpy()


def sum_over_replicas(x: tf.Tensor) -> tf.Tensor:
    """The sum of `x` over all replicas; in replica context."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return x
    # A function's argument has no device, which the strategy would miss; a copy of it has.
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(x))


def _per_replica(strategy: tf.distribute.Strategy, batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return strategy.experimental_distribute_values_from_function(lambda context: batches[context.replica_id_in_sync_group])


def _first(strategy: tf.distribute.Strategy, x: tf.Tensor) -> tf.Tensor:
    return strategy.experimental_local_results(x)[0]
