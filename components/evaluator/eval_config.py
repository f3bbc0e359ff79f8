"""What the Evaluator computes: MAP@12 of the model and of two baselines, classification metrics, overall and sliced.

There are no thresholds: TFX's Evaluator then blesses nothing, and components/gate decides. (With a change threshold only, it
would bless the first model unseen, because it always rubber-stamps one without a baseline.)
"""

import json

from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.map_at_k import CONSTANT
from schemas import features
from schemas.config import EvaluateConfig
from schemas.errors import ConfigError

MAP_AT_12 = "map_at_12"
MAP_AT_12_RANDOM = "map_at_12_random"
MAP_AT_12_POPULARITY = "map_at_12_popularity"

QUERY_KEY = "display_id"
LABEL_KEY = "label"
SIGNATURE = "serving_default"
PREDICTION_KEY = "score"
CANDIDATE, BASELINE = "candidate", "baseline"

_SCORE_KEYS = {MAP_AT_12: "", MAP_AT_12_RANDOM: CONSTANT, MAP_AT_12_POPULARITY: "popularity"}


def eval_config(evaluate: EvaluateConfig, has_baseline: bool = True) -> config_pb2.EvalConfig:
    """Returns the Evaluator's configuration.

    Args:
        evaluate: The slices.
        has_baseline: Whether to name a baseline model as well. TFX's Evaluator drops it by itself when its `baseline_model`
            channel is empty, so the pipeline always says True.

    Raises:
        ConfigError: A slice is by a column that differs between the ads of a display, which would cut displays in pieces.
    """
    return config_pb2.EvalConfig(
        model_specs=[_model_spec(CANDIDATE)] + [_model_spec(BASELINE, is_baseline=True)] * has_baseline,
        slicing_specs=[config_pb2.SlicingSpec()] + [_slicing_spec(entry) for entry in evaluate.slices if entry],
        metrics_specs=[
            config_pb2.MetricsSpec(
                query_key=QUERY_KEY,
                metrics=[
                    *(_map_at_k(name, score_key) for name, score_key in _SCORE_KEYS.items()),
                    config_pb2.MetricConfig(class_name="ClickMetrics", module="components.evaluator.click_metrics"),
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


def _slicing_spec(columns: tuple[str, ...]) -> config_pb2.SlicingSpec:
    of_items = {f.name for f in features.FEATURES if f.level == "item"} | {"popularity", LABEL_KEY}
    wrong = [column for column in columns if column in of_items]
    if wrong:
        raise ConfigError(
            f"evaluate.slices: {', '.join(wrong)} differs between the ads of a display; slice by a column that all of them share"
        )
    return config_pb2.SlicingSpec(feature_keys=columns)
