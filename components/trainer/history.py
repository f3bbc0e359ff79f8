"""The chief's record of a training: TensorBoard events, a JSON-lines file, progress."""

import json
import logging
import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from schemas import progress

logger = logging.getLogger(__name__)

HISTORY = "history.jsonl"
STAGE = "train"

Record = dict[str, Any]
"""What one epoch came to, see `components.trainer.loop.EpochRecord`."""

_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"),
    data_class=1,  # DATA_CLASS_SCALAR
)
_TRAIN = ("train_loss", "rows_per_second", "wide_learning_rate", "deep_learning_rate")
_NOT_PLOTTED = ("epoch", "step", "seconds")


class History:
    """Writes records as they come.

    Args:
        run_dir: Folder for `history.jsonl`, one JSON object an epoch (null for what is not a number), and TensorBoard events.
        earlier: Records of the epochs before, where training goes on.
    """

    def __init__(self, run_dir: str, earlier: Sequence[Record] = ()):
        tf.io.gfile.makedirs(run_dir)
        self._path = f"{run_dir}/{HISTORY}"
        self._lines: list[str] = []
        self._writer = tf.summary.create_file_writer(run_dir)
        for record in earlier:
            self.add(record)

    def add(self, record: Record) -> None:
        """Adds one epoch."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}  # JSON knows no NaN
        self._lines.append(json.dumps(plain) + "\n")
        with tf.io.gfile.GFile(self._path, "w") as file:  # whole: object stores cannot append
            file.write("".join(self._lines))
        with self._writer.as_default(step=record["step"]):
            for tag, value in curves(plain).items():
                # What tf.summary.scalar writes; that function would need the tensorboard package.
                tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_SCALAR)
        self._writer.flush()

    def close(self) -> None:
        """Ends the events file."""
        self._writer.close()


def curves(plain: Record) -> dict[str, float]:
    """Returns what of a line of `history.jsonl` makes a point of a curve, by the name of the curve: `train/loss`, `eval/auc`."""
    return {
        f"train/{name.removeprefix('train_')}" if name in _TRAIN else f"eval/{name}": value
        for name, value in plain.items()
        if name not in _NOT_PLOTTED and value is not None
    }


def report_steps(done: int, total: int) -> None:
    """Tells whoever watches how far training is."""
    progress.report(STAGE, done, total)


class RelayHistory:
    """Reports in this process the epochs that a chief in another one writes to its history.

    Args:
        run_dir: The chief's folder.
        num_epochs: How many there will be.
        fresh: Whether what is there now is of an earlier training.
    """

    def __init__(self, run_dir: str, num_epochs: int, *, fresh: bool = True):
        self._path = f"{run_dir}/{HISTORY}"
        self._num_epochs = num_epochs
        self._seen = 0
        if fresh and tf.io.gfile.exists(self._path):
            tf.io.gfile.remove(self._path)

    def poll(self) -> None:
        """Reports what is new."""
        if not tf.io.gfile.exists(self._path):
            return
        with tf.io.gfile.GFile(self._path) as file:
            lines = file.read().splitlines()
        for line in lines[self._seen :]:
            record = json.loads(line)
            logger.info("epoch %d/%d: %s", record["epoch"], self._num_epochs, line)
            progress.report(STAGE, record["epoch"], self._num_epochs)
        self._seen = max(self._seen, len(lines))
