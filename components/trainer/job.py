"""One training job, as every worker of a cluster runs it."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf
import tf_keras
from pydantic import BaseModel, ConfigDict

from components.trainer.asynchronous import make_asynchronous_step
from components.trainer.checkpoints import Checkpoints
from components.trainer.failures import explain
from components.trainer.history import History, report_steps
from components.trainer.input import Reader, Records, open_records
from components.trainer.loop import Loop, Progress, fit
from components.trainer.losses.mix import LossMix, needs_displays
from components.trainer.model import build_model
from components.trainer.optimizers import make_optimizer
from components.trainer.scorers.contract import Scorer
from components.trainer.training import Parts, make_evaluate, make_sum_over_workers, make_train_step
from components.trainer.warm_start import warm_start
from schemas import features
from schemas.config import LATEST_BLESSED, EncodingConfig, ModelConfig, TrainerConfig
from schemas.errors import TransientError
from schemas.records import RecordLayout, record_layout

logger = logging.getLogger(__name__)

WARM_START_REPORT = "warm_start.json"
_OPERATIONAL = ("start_timeout_s", "max_restarts", "parameter_servers", "save_steps", "save_secs", "keep")
"""Keys of the `trainer` section that do not change what is trained."""


class Job(BaseModel):
    """All that a worker must know; goes to it as JSON.

    Attributes:
        train_dir: Folder of the train split's records.
        eval_dir: Folder of the eval split's.
        run_dir: Folder for TensorBoard events, `history.jsonl` and `warm_start.json`.
        checkpoints: Folder under which each job keeps its checkpoints in one of its own.
        base_model: The model that `trainer.warm_start: latest_blessed` means; "" if there is none.
        encoding: The `encoding` section.
        model: The `model` section.
        trainer: The `trainer` section.
        code: Digest of the code: checkpoints of other code are another job's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_dir: str
    eval_dir: str
    run_dir: str
    checkpoints: str
    base_model: str = ""
    encoding: EncodingConfig
    model: ModelConfig
    trainer: TrainerConfig
    code: str = ""

    def inputs(self) -> tuple[features.Feature, ...]:
        """Returns the features that the model sees."""
        return self.encoding.inputs(self.model.max_embedding_dim)

    def layout(self) -> RecordLayout:
        """Returns the layout of the records."""
        return record_layout(self.inputs())

    def build_model(self) -> Scorer:
        """Returns the model with its initial weights, in the precision of serving."""
        return build_model(self.inputs(), self.model, self.trainer.seed)

    def warm_start_source(self) -> str | None:
        """Returns the path of what training starts from, None if from nothing."""
        if self.trainer.warm_start != LATEST_BLESSED:
            return self.trainer.warm_start
        if not self.base_model:
            logger.warning("trainer.warm_start is %s, but no model has been blessed yet: training starts fresh", LATEST_BLESSED)
        return self.base_model or None

    def checkpoint_dir(self) -> str:
        """Returns this job's folder: the same job finds it again, whatever changed that does not change what is trained."""
        # Replicas that step together train the same at any number of them; workers of parameter servers do not.
        operational = _OPERATIONAL if self.trainer.is_asynchronous else (*_OPERATIONAL, "strategy", "workers")
        trained = self.trainer.model_dump(mode="json", exclude=set(operational))
        data = [records.manifest.model_dump() for records in self.records]
        sections = [section.model_dump(mode="json") for section in (self.encoding, self.model)]
        parts = [data, sections, trained, self.base_model, self.code]
        return f"{self.checkpoints}/{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]}"

    @cached_property
    def records(self) -> tuple[Records, Records]:
        """Both splits, opened; see `open_records`."""
        layout = self.layout()
        return open_records("train", self.train_dir, layout), open_records("eval", self.eval_dir, layout)


@dataclass(frozen=True, slots=True)
class Trained:
    """Where the weights are: the checkpoint of the best evaluation, and the one after the last step."""

    best: str
    latest: str

    @property
    def differ(self) -> bool:
        """Whether the last step was not the best."""
        return self.best.rpartition("-")[2] != self.latest.rpartition("-")[2]


def execute(
    job: Job,
    strategy: tf.distribute.Strategy,
    *,
    worker: int = 0,
    workers: int = 1,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Trained:
    """Trains the job's model as worker number `worker` of `workers`, from its newest checkpoint on if there is one.

    Worker 0, the chief, alone writes and reports. The same job gives the same weights on CPU, stopped or not, unless the strategy
    is one of parameter servers: then this process is their chief, which hands the work to `workers` others.

    Raises:
        ConfigError: The job does not fit the records, or the records the strategy.
        InputDataError: A file cannot be read.
        TransientError: It was asked to stop, and has saved.
        ClickrankError: The loss is not finite, or no checkpoint can be read.
    """
    train, evaluation = job.records
    try:
        return _execute(job, strategy, train, evaluation, worker, workers, stop_requested)
    except tf.errors.OpError as error:
        raise explain(error) from error


def _execute(
    job: Job,
    strategy: tf.distribute.Strategy,
    train: Records,
    evaluation: Records,
    worker: int,
    workers: int,
    stop_requested: Callable[[], bool],
) -> Trained:
    config, layout = job.trainer, job.layout()
    tf_keras.utils.set_random_seed(config.seed)  # for what custom models draw; ours have seeds of their own
    tf.config.experimental.enable_tensor_float_32_execution(config.tf32)
    # The chief of parameter servers reads for all workers, and evaluates on its own.
    asynchronous = config.is_asynchronous
    replicas = workers if asynchronous else strategy.num_replicas_in_sync
    each = replicas if asynchronous else replicas // workers
    batch_size = config.batch_size(replicas)

    def readers(records: Records, replicas: int, each: int, **more: bool) -> list[Reader]:
        local = range(worker * each, (worker + 1) * each)
        return [Reader(records, batch_size, replica=replica, replicas=replicas, **more) for replica in local]

    train_readers = readers(train, replicas, each, by_display=needs_displays(config.losses), shuffle=True)
    eval_readers = readers(evaluation, *((1, 1) if asynchronous else (replicas, each)), by_display=True)
    steps, updates = train_readers[0].steps_per_epoch, replicas if asynchronous else 1
    total_steps = config.total_steps(steps)
    with strategy.scope():
        model = build_model(job.inputs(), job.model, config.seed, compute_dtype=config.precision, jit_compile=config.jit_compile)
        losses = LossMix(config.losses, config.loss_weights)
        wide, deep = (make_optimizer(c, steps, total_steps, updates) for c in (config.wide_optimizer, config.deep_optimizer))
        parts = Parts(model, wide, deep, losses, float16=config.precision == "float16")
        progress = Progress()
        folder = job.checkpoint_dir()
        checkpoints = Checkpoints(
            folder,
            tf.train.Checkpoint(model=model, wide=wide, deep=parts.deep_optimizer, losses=losses, progress=progress),
            tf.train.Checkpoint(model=model),
            keep=config.keep,
            save_steps=config.save_steps,
            save_secs=config.save_secs,
        )
        restored = checkpoints.restore()
        if restored is None and (source := job.warm_start_source()):
            report = warm_start(model, source, config)
            if worker == 0:
                _write_json(f"{job.run_dir}/{WARM_START_REPORT}", report)
    full_rows, seed, clip_norm = min(batch_size, train.manifest.rows), config.seed, config.gradient_clip_norm
    if asynchronous:
        train_step = make_asynchronous_step(
            parts, strategy, layout, workers=workers, full_rows=full_rows, seed=seed, clip_norm=clip_norm
        )
    else:
        train_step = make_train_step(parts, strategy, layout, full_rows=full_rows, seed=seed, clip_norm=clip_norm)
        _check_agreement(make_sum_over_workers(strategy, each), progress.step, workers)
    evaluate = make_evaluate(model, tf.distribute.get_strategy() if asynchronous else strategy, layout, eval_readers)
    history = History(job.run_dir, progress.history) if worker == 0 else None
    try:
        fit(
            Loop(
                config=config,
                train_step=train_step,
                evaluate=evaluate,
                readers=train_readers,
                checkpoints=checkpoints,
                progress=progress,
                learning_rates=lambda: (_rate(wide), _rate(deep)),
                is_chief=worker == 0,
                on_epoch=lambda record: history.add(record.as_dict()) if history else None,
                on_steps=report_steps if worker == 0 else lambda done, total: None,
                stop_requested=stop_requested,
            )
        )
    finally:
        if history:
            history.close()
    return Trained(checkpoints.best_path(progress.best_step), checkpoints.path(progress.step))


def load_weights(model: Scorer, path: str) -> None:
    """Sets the weights of `model` to those in a checkpoint of a model like it."""
    status = tf.train.Checkpoint(model=model).read(path)
    status.assert_existing_objects_matched()
    status.expect_partial()


def _rate(optimizer: tf_keras.optimizers.Optimizer) -> float:
    return float(tf.convert_to_tensor(optimizer.learning_rate))  # a schedule's value, or a variable of the strategy


def _check_agreement(add_up: Callable[[np.ndarray], np.ndarray], step: int, workers: int) -> None:
    """Makes sure that all workers go on from the same step: they may see a shared folder at different moments."""
    total, squares = add_up(np.array([step, step * step], np.float64)).tolist()
    if squares * workers - total * total > 0.5:  # at least workers - 1 where one differs
        raise TransientError(f"the workers found different checkpoints; this one that of step {step}; run again")


def _write_json(path: str, value: object) -> None:
    tf.io.gfile.makedirs(path.rpartition("/")[0])
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(value, indent=1))
