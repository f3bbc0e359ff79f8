"""Steps of training on parameter servers: each worker's part of a global batch is an update of its own.

The chief hands the parts of a step to whichever worker is free and waits for all of them. A part reads the variables when it
begins, and writes when it is done: updates of other parts may come in between, and where two write the same row at once, one of
them may be lost (Recht et al. 2011, https://arxiv.org/abs/1106.5730). A part whose worker is lost is done again from its start.
"""

from collections.abc import Sequence

import tensorflow as tf

from components.trainer.input import Batch
from components.trainer.training import Parts, TrainStep, make_replica_step
from schemas.errors import ConfigError
from schemas.records import RecordLayout


def make_asynchronous_step(
    parts: Parts,
    strategy: tf.distribute.ParameterServerStrategy,
    layout: RecordLayout,
    *,
    workers: int,
    full_rows: int,
    seed: int = 0,
    clip_norm: float | None = None,
) -> TrainStep:
    """Returns the function that trains on a step's batches, one for each worker, the step's number given.

    It returns the mean over the rows of the objectives that the parts had when they were trained on, and the number of rows,
    float32 (). The gradients of a part are of its own rows, and full_rows / workers is a full part.

    Args:
        parts: What is trained.
        strategy: Of workers with one replica each.
        layout: Of the batches' blocks.
        workers: How many.
        full_rows: Rows of a full global batch.
        seed: With the step and the part, determines dropout.
        clip_norm: Bound on the global norm of a part's gradients.

    Raises:
        ConfigError: A worker has more than one device.
    """
    if strategy.num_replicas_in_sync != 1:
        raise ConfigError(f"parameter_server: a worker has one device. Received: {strategy.num_replicas_in_sync}")
    coordinator = _Coordinator(strategy)
    replica_step = make_replica_step(parts, layout, full_rows=full_rows / workers, seed=seed, clip_norm=clip_norm)

    @tf.function(reduce_retracing=True, autograph=False)
    def update(batch: Batch, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return strategy.run(replica_step, args=(batch, number))

    def run(batches: Sequence[Batch], step: int) -> tuple[tf.Tensor, tf.Tensor]:
        numbered = [(batch, tf.constant(step * workers + i, tf.int32)) for i, batch in enumerate(batches) if _rows(batch)]
        scheduled = [coordinator.schedule(update, args=part) for part in numbered]
        coordinator.join()
        losses, rows = (tf.stack(values) for values in zip(*(part.fetch() for part in scheduled), strict=True))
        return tf.reduce_sum(losses * rows) / tf.reduce_sum(rows), tf.reduce_sum(rows)

    return run


class _Coordinator(tf.distribute.coordinator.ClusterCoordinator):
    """TensorFlow's, but for its destructor.

    That one waits for a lock which TensorFlow's own thread holds for as long as a lost worker is not back: a chief that is done
    would never end. All of its threads are daemons, and end with the process.
    """

    def __del__(self) -> None:
        """Does nothing."""


def _rows(batch: Batch) -> int:
    return len(next(iter(batch.blocks.values())))
