"""The preprocessing_fn of TensorFlow Transform: raw features -> model inputs, the same in training and serving.

Derived row by row from the feature table. What it learns from the train split: each number's minimum, maximum and mean.
"""

from typing import Any, TypeAlias

import tensorflow as tf
import tensorflow_transform as tft

from schemas.config import EncodingConfig
from schemas.errors import ConfigError
from schemas.features import MISSING_ID, Feature

_LOG_FACTORS = {"log": 1.0, "log1000": 1000.0}

PASSED_THROUGH = ("display_id", "label")
"""Keys that the transformed Examples keep."""

Column: TypeAlias = tf.Tensor | tf.SparseTensor


def preprocessing_fn(inputs: dict[str, Column], custom_config: dict[str, Any] | None = None) -> dict[str, tf.Tensor]:
    """Turns raw columns into model inputs.

    Args:
        inputs: Raw columns by name; sparse (n, any) or dense (n,) or (n, k), as the schema says. Columns that the model does
            not see are ignored.
        custom_config: A dict with the `encoding` sub-tree of the configuration as a dict.

    Returns:
        Every feature of `features.model_inputs` and those keys of `PASSED_THROUGH` that are in `inputs`, all dense:

        * `id`: int64 (n,), hash bucket of the string or of the decimal string of the integer: FarmHash64 mod `buckets`.
          `MISSING_ID` if absent, negative or the empty string.
        * `ids`: int64 (n, hotness), the buckets of the first `hotness` values, padded with `MISSING_ID`.
        * `indicator`: int64 (n,); `MISSING_ID` if absent or not in [0, buckets).
        * `numeric`: float32 (n,), see `_encode_numbers`.
        * keys: int64 (n,); an absent label is `MISSING_ID`.

    Raises:
        ConfigError: `inputs` lacks a feature.
        pydantic.ValidationError: `custom_config` is no encoding configuration.
    """
    encoding = EncodingConfig.model_validate((custom_config or {}).get("encoding") or {})
    outputs = {name: _first_values(inputs[name], 1, MISSING_ID)[:, 0] for name in PASSED_THROUGH if name in inputs}
    chosen = encoding.inputs()
    for feature in chosen:
        if feature.name not in inputs:
            raise ConfigError(f"the schema of the raw Examples has no feature {feature.name}; encoding.drop can leave it out")
        if feature.kind != "numeric":
            with tf.name_scope(feature.name):
                outputs[feature.name] = _encode_category(feature, inputs[feature.name])
    return outputs | _encode_numbers([f for f in chosen if f.kind == "numeric"], inputs)


def _encode_category(feature: Feature, column: Column) -> tf.Tensor:
    if feature.kind == "indicator":
        value = _first_values(column, 1, MISSING_ID)[:, 0]  # (n,)
        return tf.where((value >= 0) & (value < feature.buckets), value, tf.constant(MISSING_ID, tf.int64))
    buckets = _hash_ids(column, feature.hotness, feature.buckets)  # (n, hotness)
    return buckets[:, 0] if feature.kind == "id" else buckets


def _hash_ids(column: Column, hotness: int, buckets: int) -> tf.Tensor:
    if column.dtype == tf.string:
        text = _first_values(column, hotness, "")
    else:
        value = _first_values(column, hotness, MISSING_ID)
        text = tf.where(value < 0, "", tf.strings.as_string(value))
    return tf.where(text == "", tf.constant(MISSING_ID, tf.int64), tft.hash_strings(text, buckets))  # (n, hotness)


def _encode_numbers(numbers: list[Feature], inputs: dict[str, Column]) -> dict[str, tf.Tensor]:
    """Scales numbers and fills what is missing; all k of them as one matrix, as every analyzer of TFT costs seconds.

    `raw` stays as it is. For `log` and `log1000`, with L(x) = log2(1 + x) or log2(1 + 1000 x), it is

        (L(x) - min) / (max - min), clipped to [0, 1], where min and max are those of L over the train split.

    A negative x counts as 0 there. A column that is constant or wholly missing in the train split becomes 0. NaN and infinities
    are missing values. The scaled values' mean fills a `mean` feature, 0 a `zero` feature.
    """
    if not numbers:
        return {}
    x = tf.concat([_first_values(_cast(inputs[f.name], tf.float32), 1, float("nan")) for f in numbers], axis=1)  # (n, k)
    present = tf.math.is_finite(x)  # (n, k)
    x = tf.where(present, x, 0.0)
    is_raw = tf.constant([f.scale == "raw" for f in numbers])  # (k,)
    factor = tf.constant([_LOG_FACTORS.get(f.scale, 0.0) for f in numbers])  # (k,)
    level = tf.where(is_raw, x, tf.math.log1p(factor * tf.maximum(x, 0.0)) / tf.math.log(2.0))  # (n, k)

    nothing = float("-inf")
    extremes = tft.max(
        tf.concat([tf.where(present, level, nothing), tf.where(present, -level, nothing)], axis=1), reduce_instance_dims=False
    )  # (2k,): the maxima, then the negated minima
    high, low = extremes[: len(numbers)], -extremes[len(numbers) :]
    span = tf.where(high > low, high - low, 0.0)

    def scale(y: tf.Tensor) -> tf.Tensor:
        return tf.where(is_raw, y, tf.clip_by_value(tf.math.divide_no_nan(y - low, span), 0.0, 1.0))

    # Scaling is linear in L, so that the mean of the scaled values is the scaled mean, and one pass over the data is enough.
    # In float64, as TFT adds up batch after batch.
    sums = tft.sum(
        tf.concat([tf.where(present, tf.cast(level, tf.float64), 0.0), tf.cast(present, tf.float64)], axis=1),
        reduce_instance_dims=False,
    )  # (2k,): the totals, then the counts
    mean = tf.cast(tf.math.divide_no_nan(sums[: len(numbers)], sums[len(numbers) :]), tf.float32)
    fill = tf.where(tf.constant([f.missing == "mean" for f in numbers]), scale(mean), 0.0)
    scaled = tf.where(present, scale(level), fill)  # (n, k)
    return {f.name: scaled[:, i] for i, f in enumerate(numbers)}


def _cast(column: Column, dtype: tf.DType) -> Column:
    if isinstance(column, tf.SparseTensor):
        return column.with_values(tf.cast(column.values, dtype))
    return tf.cast(column, dtype)


def _first_values(column: Column, width: int, default: int | float | str) -> tf.Tensor:
    """Returns each row's first `width` values, dense (n, width), filled up with `default`."""
    if isinstance(column, tf.SparseTensor):
        column = tf.sparse.to_dense(column, default_value=tf.constant(default, column.dtype))
    elif column.shape.rank == 1:
        column = column[:, tf.newaxis]
    column = column[:, :width]
    column = tf.pad(column, [[0, 0], [0, width - tf.shape(column)[1]]], constant_values=tf.constant(default, column.dtype))
    return tf.reshape(column, [-1, width])
