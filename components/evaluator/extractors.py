"""What the Evaluator carries from the eval rows to the metrics: only the columns that a metric or a slice reads.

By default TFMA keeps every column of every row, and merging them by display costs more than everything else together. Wire it
by `Evaluator(..., module_path="components.evaluator.extractors")`; TFX calls `custom_extractors`.
"""

import json
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.extractors import (
    extractor,
    features_extractor,
    labels_extractor,
    predictions_extractor,
    slice_key_extractor,
    unbatch_extractor,
)
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator.map_at_k import CONSTANT


def custom_extractors(
    eval_shared_model: types.MaybeMultipleEvalSharedModels, eval_config: config_pb2.EvalConfig, tensor_adapter_config: Any
) -> list[extractor.Extractor]:
    """Returns TFMA's default extractors for serving signatures, with unread columns dropped as soon as they can be."""
    representations = tensor_adapter_config.tensor_representations if tensor_adapter_config else None
    return [
        features_extractor.FeaturesExtractor(eval_config=eval_config, tensor_representations=representations),
        _keep_features("KeepReadFeatures", read_columns(eval_config)),
        labels_extractor.LabelsExtractor(eval_config=eval_config),
        predictions_extractor.PredictionsExtractor(eval_config=eval_config, eval_shared_model=eval_shared_model),
        _drop_inputs(),
        unbatch_extractor.UnbatchExtractor(),
        slice_key_extractor.SliceKeyExtractor(eval_config=eval_config, materialize=False),
        _keep_features("KeepMetricFeatures", metric_columns(eval_config)),
    ]


def metric_columns(eval_config: config_pb2.EvalConfig) -> frozenset[str]:
    """Returns the columns that the metrics group by or rank by."""
    columns = {spec.query_key for spec in eval_config.metrics_specs if spec.query_key}
    for spec in eval_config.metrics_specs:
        for metric in spec.metrics:
            columns.add(json.loads(metric.config or "{}").get("score_key", ""))
    return frozenset(columns - {"", CONSTANT})


def read_columns(eval_config: config_pb2.EvalConfig) -> frozenset[str]:
    """Returns all columns that the evaluation reads: those of `metric_columns`, labels, and slices."""
    columns = set(metric_columns(eval_config))
    columns.update(spec.label_key for spec in eval_config.model_specs)
    for spec in eval_config.slicing_specs:
        columns.update(spec.feature_keys)
        columns.update(spec.feature_values)
    return frozenset(columns)


def _keep_features(stage_name: str, names: frozenset[str]) -> extractor.Extractor:
    def keep(extracts: types.Extracts) -> types.Extracts:
        features = extracts[constants.FEATURES_KEY]
        return {**extracts, constants.FEATURES_KEY: {name: value for name, value in features.items() if name in names}}

    return extractor.Extractor(stage_name=stage_name, ptransform=beam.Map(keep))


def _drop_inputs() -> extractor.Extractor:
    """Drops the serialised Examples, which only the model reads."""
    unread = (constants.INPUT_KEY, constants.ARROW_RECORD_BATCH_KEY)

    def drop(extracts: types.Extracts) -> types.Extracts:
        return {key: value for key, value in extracts.items() if key not in unread}

    return extractor.Extractor(stage_name="DropInputs", ptransform=beam.Map(drop))
