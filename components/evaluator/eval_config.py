"""What an evaluation is, as TFMA's configuration: models, slices, and the metrics as TFMA classes.

There are no thresholds: the Evaluator blesses nothing, and components/gate decides. (With a change threshold only, TFX would bless
the first model unseen, because it always rubber-stamps one without a baseline.)
"""

import json

from tensorflow_model_analysis.metrics import calibration_plot
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.map_at_k import CONSTANT
from components.evaluator.names import (
    BASELINE,
    CANDIDATE,
    LABEL_KEY,
    MAP_AT_12,
    MAP_AT_12_POPULARITY,
    MAP_AT_12_RANDOM,
    PREDICTION_KEY,
    QUERY_KEY,
    SIGNATURE,
)
from components.evaluator.slices import find_slice_column
from schemas.config import EvaluateConfig

_SCORE_KEYS = {MAP_AT_12: "", MAP_AT_12_RANDOM: CONSTANT, MAP_AT_12_POPULARITY: "popularity"}


def eval_config(evaluate: EvaluateConfig, has_baseline: bool = True) -> config_pb2.EvalConfig:
    """Returns the Evaluator's configuration.

    Args:
        evaluate: The slices.
        has_baseline: Whether to name a baseline model as well. It is dropped where the `baseline_model` channel is empty, so the
            pipeline always says True.

    Raises:
        ConfigError: A slice is by a column that is not there, or that has no one value a display.
    """
    slices = list(dict.fromkeys(tuple(dict.fromkeys(entry)) for entry in evaluate.slices if entry))
    for name in {name for entry in slices for name in entry}:
        find_slice_column(name)
    return config_pb2.EvalConfig(
        model_specs=[_model_spec(CANDIDATE)] + [_model_spec(BASELINE, is_baseline=True)] * has_baseline,
        slicing_specs=[config_pb2.SlicingSpec(), *(config_pb2.SlicingSpec(feature_keys=entry) for entry in slices)],
        metrics_specs=[
            config_pb2.MetricsSpec(
                query_key=QUERY_KEY,
                metrics=[
                    *(_map_at_k(name, score_key) for name, score_key in _SCORE_KEYS.items()),
                    config_pb2.MetricConfig(class_name="DisplayMetrics", module="components.evaluator.display_metrics"),
                    config_pb2.MetricConfig(class_name="ClickMetrics", module="components.evaluator.click_metrics"),
                    config_pb2.MetricConfig(class_name=calibration_plot.CalibrationPlot.__name__),
                ],
            )
        ],
    )


def _model_spec(name: str, is_baseline: bool = False) -> config_pb2.ModelSpec:
    return config_pb2.ModelSpec(
        name=name, signature_name=SIGNATURE, label_key=LABEL_KEY, prediction_key=PREDICTION_KEY, is_baseline=is_baseline
    )


def _map_at_k(name: str, score_key: str) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name="MapAtK",
        module="components.evaluator.map_at_k",
        config=json.dumps({"k": 12, "name": name, "score_key": score_key}),
    )
