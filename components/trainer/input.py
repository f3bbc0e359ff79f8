"""Transformed Examples on disk -> batches.

All workers read the same stream of rows and cut it into the same global batches; each then parses only its own rows of a batch,
every `shards`-th. Hence the rule for rows: every row is seen exactly once an epoch, by one worker, at any number of workers; all
workers take the same number of steps, and a step trains on the same rows as with one worker. The last batch may be short: each
worker's part is always padded to the same length with rows of weight 0. The price is that every worker inflates all files.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_transform as tft

from schemas.errors import ConfigError, InputDataError
from schemas.features import Feature

SHUFFLE_ROWS = 1 << 18
"""Rows in the shuffle buffer; about 250 bytes a row."""

LABEL = "label"


class Batch(NamedTuple):
    """A worker's part of one global batch; size = ceil(global batch size / workers).

    Attributes:
        features: Model inputs by name, (size,) or (size, hotness).
        label: float32 (size,), 0 or 1.
        weight: float32 (size,), 1 for a row, 0 for padding.
        rows: int64 (), rows of the global batch over all workers, without padding.
    """

    features: dict[str, tf.Tensor]
    label: tf.Tensor
    weight: tf.Tensor
    rows: tf.Tensor


def find_files(split: str, patterns: Sequence[str]) -> list[str]:
    """Returns the sorted files that match `patterns`, at least one of which holds a row.

    Raises:
        InputDataError: No file matches, or all are empty; names the split.
    """
    files = sorted({path for pattern in patterns for path in tf.io.gfile.glob(pattern)})
    if not files:
        raise InputDataError(f"no file of the {split} split matches {', '.join(patterns)}")
    if next(iter(_read(files).take(1)), None) is None:
        raise InputDataError(f"the {split} split has no rows: {files[0]}" + (" and others" if len(files) > 1 else ""))
    return files


def parse_spec(transform_output: tft.TFTransformOutput, features: Sequence[Feature]) -> dict[str, tf.io.FixedLenFeature]:
    """Returns the parsing spec of the model's inputs and the label in transformed Examples.

    Raises:
        ConfigError: Transform did not write one of them.
    """
    spec = transform_output.transformed_feature_spec()
    names = [*(f.name for f in features), LABEL]
    missing = [name for name in names if name not in spec]
    if missing:
        raise ConfigError(f"not in the transformed Examples: {', '.join(missing)}; did Transform run with the same encoding?")
    return {name: spec[name] for name in names}


def read_batches(
    files: Sequence[str],
    spec: dict[str, tf.io.FixedLenFeature],
    global_batch_size: int,
    *,
    shard: int = 0,
    shards: int = 1,
    shuffle_seed: int | None = None,
) -> tf.data.Dataset:
    """Returns a dataset of `Batch`, one for each global batch of the split, that ends after one epoch.

    Args:
        files: GZIP TFRecord files of transformed Examples.
        spec: From `parse_spec`.
        global_batch_size: Rows of a step over all workers.
        shard: This worker's number, 0 to shards - 1.
        shards: Number of workers.
        shuffle_seed: Determines the order of files and rows; None keeps the order. An own seed for every epoch gives every
            epoch its own order, the same on all workers.

    Reading the dataset raises tf.errors.InvalidArgumentError for a row without a label, tf.errors.DataLossError for a corrupt file.
    """
    files = list(files)
    size = -(-global_batch_size // shards)

    def take_part(serialized: tf.Tensor) -> Batch:
        rows = tf.size(serialized, tf.int64)
        part = serialized[shard::shards]  # (k,), k <= size
        padding = size - tf.size(part)
        columns = tf.io.parse_example(part, spec)
        tf.debugging.assert_non_negative(columns[LABEL], "a row of the split has no label")
        padded = {}
        for name, column in columns.items():
            column = tf.pad(column, [[0, padding], *([[0, 0]] * (column.shape.rank - 1))])
            padded[name] = tf.ensure_shape(column, [size, *column.shape[1:]])
        weight = tf.cast(tf.range(size) < size - padding, tf.float32)
        label = tf.cast(padded.pop(LABEL), tf.float32)
        return Batch(padded, label, weight, rows)

    if shuffle_seed is not None:
        random.Random(shuffle_seed).shuffle(files)
    dataset = _read(files)
    if shuffle_seed is not None:
        dataset = dataset.shuffle(SHUFFLE_ROWS, seed=shuffle_seed, reshuffle_each_iteration=False)
    return dataset.batch(global_batch_size).map(take_part, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _read(files: Sequence[str]) -> tf.data.Dataset:
    # Parallel reads interleave in a fixed order as long as the option `deterministic` is not switched off.
    return tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=min(4, len(files)))
