"""Classification metrics of click probabilities as one TFMA metric, a display at a time.

TFMA's own take each row through each slice in Python, which is more work than all of MAP@12, and raise on a NaN score with the
whole record in the message. Here a NaN makes the metric NaN.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import rows
from components.evaluator.names import AUC, CALIBRATION, EXAMPLE_COUNT, LOG_LOSS
from components.evaluator.scores import BUCKETS, auc, bucket_of, log_losses

NAMES = (EXAMPLE_COUNT, LOG_LOSS, CALIBRATION, AUC)


class ClickMetrics(metric_types.Metric):
    """Number of rows, log loss, calibration and AUC.

    `components.evaluator.tfma_results.metrics` has the definitions.

    Needs `MetricsSpec.query_key`, only for speed. Metrics that are not defined, such as the AUC without a click, are NaN.
    """

    def __init__(self, name: str = "click_metrics"):
        """Initialises the metric; `name` is not part of the names of its values, which are `NAMES`."""
        super().__init__(_click_metrics, name=name)


metric_types.register_metric(ClickMetrics)


class _Display(NamedTuple):
    """The sums over one display, and the bin of each row's score by label."""

    sums: npt.NDArray[np.float64]  # (4,) rows, log loss, score, label
    bins: npt.NDArray[np.int64]  # (rows,) label * BUCKETS + bucket of the score


def _click_metrics(
    name: str = "",
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: list[str] | None = None,
    output_names: list[str] | None = None,
) -> metric_types.MetricComputations:
    del name
    return rows.of_each_model(NAMES, lambda *which: _SumRows(eval_config, *which), _ClickMetricsFn, model_names, output_names)


class _SumRows(metric_types.Preprocessor):
    """The extracts of one display -> its sums and bins."""

    def __init__(self, eval_config: config_pb2.EvalConfig | None, model_name: str, output_name: str):
        super().__init__(name=f"click_metrics({model_name},{output_name})")
        self._where = (eval_config, model_name, output_name)

    def process(self, extracts: dict[str, Any]) -> Iterator[_Display]:
        label, score = rows.labels_and_predictions(extracts, *self._where)
        yield _sum_rows(label.astype(np.float64), score.astype(np.float64))


def _sum_rows(label: npt.NDArray[np.float64], score: npt.NDArray[np.float64]) -> _Display:
    return _Display(
        np.array([len(label), log_losses(score, label > 0).sum(), score.sum(), label.sum()]),
        (label > 0) * BUCKETS + bucket_of(score),
    )


class _Sums:
    """The sums over displays, and the histogram of scores by label."""

    __slots__ = ("histogram", "sums")

    def __init__(self) -> None:
        self.sums = np.zeros(4)
        self.histogram = np.zeros(2 * BUCKETS, np.int64)


class _ClickMetricsFn(beam.CombineFn):
    """Sums of displays -> the metrics."""

    def __init__(self, keys: list[metric_types.MetricKey]):
        self._keys = keys

    def create_accumulator(self) -> _Sums:
        return _Sums()

    def add_input(self, accumulator: _Sums, element: _Display) -> _Sums:
        accumulator.sums += element.sums
        np.add.at(accumulator.histogram, element.bins, 1)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        merged = _Sums()
        for accumulator in accumulators:
            merged.sums += accumulator.sums
            merged.histogram += accumulator.histogram
        return merged

    def extract_output(self, accumulator: _Sums) -> dict[metric_types.MetricKey, float]:
        count, log_loss, score, label = (float(total) for total in accumulator.sums)
        area = float("nan") if np.isnan(score) else auc(accumulator.histogram[:BUCKETS], accumulator.histogram[BUCKETS:])
        values = (count, _ratio(log_loss, count), _ratio(score, label), area)
        return dict(zip(self._keys, values, strict=True))


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")
