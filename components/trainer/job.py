"""One training job, as every worker of a cluster runs it."""

import dataclasses
import json
import math

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from pydantic import BaseModel, ConfigDict

from components.trainer.input import parse_spec, read_batches
from components.trainer.model import build_model
from components.trainer.optimizers import make_optimizer
from components.trainer.scorers.contract import Scorer
from components.trainer.training import EpochRecord, Fitted, fit, make_evaluate, make_train_step
from schemas import features, progress
from schemas.config import EncodingConfig, ModelConfig, TrainerConfig
from schemas.errors import ClickrankError, InputDataError

HISTORY = "history.jsonl"
STAGE = "train"

_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"),
    data_class=1,  # DATA_CLASS_SCALAR
)


class Job(BaseModel):
    """All that a worker must know; goes to it as JSON.

    Attributes:
        train_files: Transformed Examples of the train split.
        eval_files: Those of the eval split.
        transform_output: Folder of the TFT output.
        run_dir: Folder for TensorBoard events and `history.jsonl`, one JSON object an epoch: the fields of `EpochRecord`.
        encoding: The `encoding` sub-tree.
        model: The `model` sub-tree.
        trainer: The `trainer` sub-tree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_files: tuple[str, ...]
    eval_files: tuple[str, ...]
    transform_output: str
    run_dir: str
    encoding: EncodingConfig
    model: ModelConfig
    trainer: TrainerConfig

    def inputs(self) -> tuple[features.Feature, ...]:
        """Returns the features that the model sees."""
        return features.model_inputs(
            add=self.encoding.add,
            drop=self.encoding.drop,
            max_buckets=self.encoding.max_buckets,
            max_embedding_dim=self.model.max_embedding_dim,
        )

    def build_model(self) -> Scorer:
        """Returns the model with its initial weights."""
        return build_model(self.inputs(), self.model, self.trainer.seed)


def execute(job: Job, strategy: tf.distribute.Strategy, *, worker: int = 0, workers: int = 1) -> Fitted:
    """Trains the job's model as worker number `worker` of `workers`; worker 0, the chief, alone writes and reports.

    The result is the same on all workers. The same job gives the same weights on CPU.

    Raises:
        ConfigError: The job does not fit the transformed Examples.
        InputDataError: A file cannot be read, or a row has no label.
        ClickrankError: The loss is not finite.
    """
    config = job.trainer
    chief = worker == 0
    tf_keras.utils.set_random_seed(config.seed)
    spec = parse_spec(tft.TFTransformOutput(job.transform_output), job.inputs())
    part = {"shard": worker, "shards": workers}
    with strategy.scope():
        model = job.build_model()
        optimizers = make_optimizer(config.wide_optimizer), make_optimizer(config.deep_optimizer)
        train_step = make_train_step(model, *optimizers, strategy, config.seed)
        evaluate = make_evaluate(model, strategy)
    history = _History(job.run_dir, config.num_epochs) if chief else None
    try:
        return fit(
            model,
            train_step,
            evaluate,
            lambda epoch: read_batches(job.train_files, spec, config.global_batch_size, shuffle_seed=config.seed + epoch, **part),
            read_batches(job.eval_files, spec, config.global_batch_size, **part),
            config.num_epochs,
            history.add if history else lambda record: None,
        )
    except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
        raise InputDataError(f"the transformed Examples cannot be read: {_cause(error)}") from error
    except tf.errors.InvalidArgumentError as error:
        if "has no label" in str(error):
            raise InputDataError("a row of the train or eval split has no label") from error
        raise ClickrankError(f"training failed: {_cause(error)}") from error
    finally:
        if history:
            history.close()


class _History:
    """The chief's record of a run: TensorBoard, `history.jsonl`, progress."""

    def __init__(self, run_dir: str, num_epochs: int):
        tf.io.gfile.makedirs(run_dir)
        self._path = f"{run_dir}/{HISTORY}"
        self._num_epochs = num_epochs
        self._lines: list[str] = []
        self._writer = tf.summary.create_file_writer(run_dir)

    def add(self, record: EpochRecord) -> None:
        values = dataclasses.asdict(record)
        plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}  # JSON knows no NaN
        self._lines.append(json.dumps(plain) + "\n")
        with tf.io.gfile.GFile(self._path, "w") as file:  # whole: object stores cannot append
            file.write("".join(self._lines))
        with self._writer.as_default(step=record.epoch):
            for tag, value in (
                ("train/loss", record.train_loss),
                ("train/rows_per_second", record.rows_per_second),
                ("eval/log_loss", record.eval_log_loss),
                ("eval/auc", record.eval_auc),
            ):
                # What tf.summary.scalar writes; that function would need the tensorboard package.
                tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_SCALAR)
        self._writer.flush()
        progress.report(STAGE, record.epoch, self._num_epochs)

    def close(self) -> None:
        self._writer.close()


def save_weights(path: str, weights: list[np.ndarray]) -> None:
    """Writes weights, in their order, as a .npz without pickles."""
    with open(path, "wb") as file:
        np.savez(file, *weights)


def load_weights(path: str) -> list[np.ndarray]:
    """Reads what `save_weights` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return [arrays[f"arr_{i}"] for i in range(len(arrays.files))]


def _cause(error: Exception) -> str:
    """The one line of a TensorFlow error that says what went wrong: the last that does not say where."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("[[")), str(type(error).__name__))
