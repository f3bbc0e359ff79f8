"""What TFMA extracted of one display, as arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_util
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import util


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
