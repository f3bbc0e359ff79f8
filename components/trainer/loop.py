"""The training loop: epochs of steps, evaluation, the best weights, checkpoints, and stopping when asked to."""

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from components.trainer.checkpoints import Checkpoints
from components.trainer.evaluation import EvalMetrics
from components.trainer.input import Batch, Reader
from components.trainer.training import Evaluate, TrainStep
from schemas.config import TrainerConfig
from schemas.errors import ClickrankError, TransientError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to. `train_loss` is the objective's mean over rows; the metrics are absent where it was not evaluated."""

    epoch: int
    step: int
    train_loss: float
    seconds: float
    rows_per_second: float
    wide_learning_rate: float
    deep_learning_rate: float
    metrics: EvalMetrics | None = None

    def as_dict(self) -> dict[str, Any]:
        """All fields in one flat dict."""
        values = dataclasses.asdict(self)
        return values | (values.pop("metrics") or {})


@dataclass
class Progress(tf.train.experimental.PythonState):
    """Where a training is; part of its checkpoints.

    Attributes:
        epoch: The epoch that is going on, from 1.
        epoch_step: Steps done in it: the position in the input.
        step: Steps done in all.
        loss_sum, rows, seconds: Of this epoch so far; the first is the sum of loss times rows.
        best, best_step: The highest MAP@12 so far and when; -1 before any.
        stale: Evaluations since the best.
        history: The records of the epochs done.
    """

    epoch: int = 1
    epoch_step: int = 0
    step: int = 0
    loss_sum: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    best: float = -math.inf
    best_step: int = -1
    stale: int = 0
    done: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    def serialize(self) -> str:
        """Part of tf.train.experimental.PythonState."""
        return json.dumps({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    def deserialize(self, value: str) -> None:
        """Part of tf.train.experimental.PythonState."""
        for name, restored in json.loads(value).items():
            setattr(self, name, restored)


@dataclass(frozen=True)
class Loop:
    """All that `fit` needs.

    Attributes:
        config: The `trainer` section.
        train_step: From `make_train_step`.
        evaluate: From `make_evaluate`.
        readers: Of the train split, one for each replica of this process.
        checkpoints: Where the state goes; the chief's alone writes.
        progress: Part of the checkpoints.
        learning_rates: Of the wide and the deep part, now.
        is_chief: Whether to write.
        on_epoch: Is told of every epoch.
        on_steps: Is told how many steps are done, of how many.
        stop_requested: Whether to save and stop.
    """

    config: TrainerConfig
    train_step: TrainStep
    evaluate: Evaluate
    readers: Sequence[Reader]
    checkpoints: Checkpoints
    progress: Progress
    learning_rates: Callable[[], tuple[float, float]]
    is_chief: bool = True
    on_epoch: Callable[[EpochRecord], None] = lambda record: None
    on_steps: Callable[[int, int], None] = lambda done, total: None
    stop_requested: Callable[[], bool] = lambda: False

    @property
    def total_steps(self) -> int:
        """Steps of the whole training, unless it stops early."""
        return self.config.total_steps(self.readers[0].steps_per_epoch)


def fit(loop: Loop) -> Progress:
    """Trains from `loop.progress` to the end; on all workers alike.

    The weights of the best evaluation are then in the checkpoints, at `best_step`, and those after the last step in the model.

    Raises:
        ClickrankError: A loss is NaN or infinite; names the step.
        TransientError: It was asked to stop; a checkpoint has been written.
    """
    progress = loop.progress
    while not progress.done:
        _train_epoch(loop)
        _finish_epoch(loop)
    return progress


def _train_epoch(loop: Loop) -> None:
    progress = loop.progress
    start, before = time.monotonic(), progress.seconds
    for batches in _batches(loop):
        loss, rows = (float(x) for x in loop.train_step(batches, progress.step))
        progress.step += 1
        progress.epoch_step += 1
        if not math.isfinite(loss):
            raise ClickrankError(
                f"the loss is {loss} at step {progress.step} (epoch {progress.epoch}); a lower learning rate, or "
                "trainer.gradient_clip_norm, may help"
            )
        progress.loss_sum += loss * rows
        progress.rows += rows
        progress.seconds = before + time.monotonic() - start
        loop.on_steps(progress.step, loop.total_steps)
        if progress.step >= loop.total_steps:
            break
        if loop.is_chief and progress.epoch_step < loop.readers[0].steps_per_epoch:  # at the end of an epoch, evaluate first
            if loop.stop_requested():
                loop.checkpoints.save(progress.step)
                raise TransientError(f"training was asked to stop and did at step {progress.step}; run again to go on from there")
            if loop.checkpoints.is_due(progress.step):
                loop.checkpoints.save(progress.step)


def _batches(loop: Loop) -> Iterator[tuple[Batch, ...]]:
    seed = loop.config.seed + loop.progress.epoch
    epochs = [reader.epoch(seed, loop.progress.epoch_step) for reader in loop.readers]
    return zip(*epochs, strict=True)


def _finish_epoch(loop: Loop) -> None:
    """Evaluates if it is time, notes the best, decides whether to go on, and saves."""
    progress, config = loop.progress, loop.config
    last = progress.step >= loop.total_steps
    metrics = None
    if last or progress.epoch % config.eval_interval == 0:
        metrics = loop.evaluate()
        if not math.isfinite(metrics.log_loss):
            raise ClickrankError(f"the eval log loss is {metrics.log_loss} after step {progress.step} (epoch {progress.epoch})")
        _note_best(loop, metrics.map_at_12)
    record = EpochRecord(
        progress.epoch,
        progress.step,
        progress.loss_sum / progress.rows,
        progress.seconds,
        progress.rows / max(progress.seconds, 1e-9),
        *loop.learning_rates(),
        metrics,
    )
    progress.history.append(record.as_dict())
    patience = config.early_stopping_patience
    progress.done = last or (patience is not None and progress.stale >= patience)
    progress.epoch += 1
    progress.epoch_step, progress.loss_sum, progress.rows, progress.seconds = 0, 0.0, 0.0, 0.0
    _log(record)
    loop.on_epoch(record)
    if loop.is_chief and (progress.done or loop.checkpoints.is_due(progress.step)):
        loop.checkpoints.save(progress.step)


def _note_best(loop: Loop, value: float) -> None:
    progress = loop.progress
    gain = value - progress.best
    # Without a clicked display there is no MAP, and the latest is the best.
    if not gain <= 0:
        progress.best, progress.best_step = value if math.isfinite(value) else progress.best, progress.step
        if loop.is_chief:
            loop.checkpoints.save_best(progress.step)
    progress.stale = progress.stale + 1 if gain <= loop.config.early_stopping_min_delta else 0


def _log(record: EpochRecord) -> None:
    values = record.as_dict()
    shown = ", ".join(f"{name} {value:.5g}" for name, value in values.items() if name not in ("epoch", "step"))
    logger.info("epoch %d, step %d: %s", record.epoch, record.step, shown)
