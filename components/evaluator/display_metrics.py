"""Measures of a display's ranking as one TFMA metric: MRR, NDCG@12, GAUC."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import ranking, rows
from components.evaluator.names import GAUC, MRR, NDCG_AT_12

NAMES = (MRR, NDCG_AT_12, GAUC)


class DisplayMetrics(metric_types.Metric):
    """MRR, NDCG@12 and GAUC; `components.evaluator.tfma_results.metrics` has the definitions.

    Needs `MetricsSpec.query_key`, the display. A mean over no display is NaN.
    """

    def __init__(self, name: str = "display_metrics"):
        """Initialises the metric; `name` is not part of the names of its values, which are `NAMES`."""
        super().__init__(_display_metrics, name=name)


metric_types.register_metric(DisplayMetrics)


def _display_metrics(
    name: str = "",
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: list[str] | None = None,
    output_names: list[str] | None = None,
) -> metric_types.MetricComputations:
    del name
    return rows.of_each_model(NAMES, lambda *which: _Measure(eval_config, *which), _WeightedMeansFn, model_names, output_names)


class _Measure(metric_types.Preprocessor):
    """The extracts of one display -> (3, 2): each measure times its weight, and the weight; zeros where it is not defined."""

    def __init__(self, eval_config: config_pb2.EvalConfig | None, model_name: str, output_name: str):
        super().__init__(name=f"display_metrics({model_name},{output_name})")
        self._where = (eval_config, model_name, output_name)

    def process(self, extracts: dict[str, Any]) -> Iterator[npt.NDArray[np.float64]]:
        label, score = rows.labels_and_predictions(extracts, *self._where)
        ranked = ranking.rank(ranking.group(np.zeros(len(label), np.int8), label), score)
        measures = (ranking.reciprocal_ranks, ranking.normalized_dcgs, ranking.aucs)
        value = np.concatenate([measure(ranked) for measure in measures])
        weight = np.where(np.isnan(value), 0.0, [1.0, 1.0, len(label)])
        yield np.stack([np.nan_to_num(value) * weight, weight], axis=1)


class _WeightedMeansFn(beam.CombineFn):
    """Measures and weights of displays -> the means."""

    def __init__(self, keys: list[metric_types.MetricKey]):
        self._keys = keys

    def create_accumulator(self) -> npt.NDArray[np.float64]:
        return np.zeros((len(NAMES), 2))

    def add_input(self, accumulator: npt.NDArray[np.float64], element: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return accumulator + element

    def merge_accumulators(self, accumulators: Iterable[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        return np.sum([self.create_accumulator(), *accumulators], axis=0)

    def extract_output(self, accumulator: npt.NDArray[np.float64]) -> dict[metric_types.MetricKey, float]:
        means = [float(total / weight) if weight else float("nan") for total, weight in accumulator]
        return dict(zip(self._keys, means, strict=True))
