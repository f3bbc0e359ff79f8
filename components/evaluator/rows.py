"""What our metrics as TFMA classes have in common: a computation for each model, of what TFMA extracted of one display."""

from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import util


def of_each_model(
    names: Sequence[str],
    preprocessor: Callable[[str, str], metric_types.Preprocessor],
    combiner: Callable[[list[metric_types.MetricKey]], beam.CombineFn],
    model_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> metric_types.MetricComputations:
    """Returns the computation of a metric for each model and output.

    Args:
        names: Of the metric's values.
        preprocessor: Makes that of a model's name and an output's.
        combiner: Makes that of the keys of the values.
        model_names: None for the only one.
        output_names: None for the only one.
    """
    computations = []
    for model_name in model_names or [""]:
        for output_name in output_names or [""]:
            keys = [metric_types.MetricKey(name, model_name=model_name, output_name=output_name) for name in names]
            made = preprocessor(model_name, output_name)
            computations.append(metric_types.MetricComputation(keys, [made], combiner(keys)))
    return computations


def labels_and_predictions(
    extracts: dict[str, Any], eval_config: config_pb2.EvalConfig | None, model_name: str, output_name: str
) -> tuple[npt.NDArray, npt.NDArray]:
    """Returns the labels and a model's predictions, each of shape (rows,)."""
    label, prediction, _ = next(
        metric_util.to_label_prediction_example_weight(
            metric_util.to_standard_metric_inputs(extracts),
            eval_config=eval_config,
            model_name=model_name,
            output_name=output_name,
            flatten=False,
        )
    )
    return label.reshape(-1), prediction.reshape(-1)


def feature(extracts: dict[str, Any], name: str) -> npt.NDArray:
    """Returns a feature's values, of shape (rows,), or shorter where rows lack it."""
    value = util.get_by_keys(extracts, [constants.FEATURES_KEY, name], optional=True)
    if value is None:
        return np.zeros(0)
    # Rows that lack the key make a ragged value of those that have it.
    return np.asarray(getattr(value, "values", value)).reshape(-1)
