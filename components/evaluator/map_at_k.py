"""MAP@k as a TFMA metric: exact over all displays of a slice, with `query_key: "display_id"`.

With a query key TFMA hands a display's rows to the metric at once, whatever shards they come from. AP@k is computed in a
preprocessor, once a display, before the display is fanned out to its slices; what is combined are sums.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components.evaluator import rows
from components.evaluator.average_precision import average_precision
from components.evaluator.names import displays_key, displays_without_click_key
from components.evaluator.ranking import K
from schemas.errors import InputDataError

CONSTANT = "constant"


class MapAtK(metric_types.Metric):
    """Mean over displays of the expected average precision at k (`components.evaluator.average_precision`).

    Gives three values: the mean under `name`, and the numbers of displays evaluated and left out under `displays_key(name)`
    and `displays_without_click_key(name)`. The mean over no display is NaN. Needs `MetricsSpec.query_key`.
    """

    def __init__(self, k: int = K, score_key: str = "", name: str = "map_at_12"):
        """Initialises the metric.

        Args:
            k: Number of ranks that count.
            score_key: Where scores come from: the model's prediction if empty, no score at all (a random order) if
                `constant`, else that feature of the Example, such as `popularity`.
            name: Name of the metric.

        Raises:
            ValueError: k is not positive.
        """
        if k < 1:
            raise ValueError(f"k must be positive. Received: {k}")
        super().__init__(_map_at_k, k=k, score_key=score_key, name=name)


metric_types.register_metric(MapAtK)


def _map_at_k(
    k: int = K,
    score_key: str = "",
    name: str = "map_at_12",
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: list[str] | None = None,
    output_names: list[str] | None = None,
    query_key: str = "",
) -> metric_types.MetricComputations:
    if not query_key:
        raise ValueError(f"metric {name!r} needs a query_key in its MetricsSpec")
    return rows.of_each_model(
        (name, displays_key(name), displays_without_click_key(name)),
        lambda *which: _AveragePrecision(k, score_key, query_key, eval_config, *which),
        _MeanCombineFn,
        model_names,
        output_names,
    )


class _AveragePrecision(metric_types.Preprocessor):
    """The extracts of one display -> its AP@k, NaN if nothing was clicked."""

    def __init__(
        self,
        k: int,
        score_key: str,
        query_key: str,
        eval_config: config_pb2.EvalConfig | None,
        model_name: str,
        output_name: str,
    ):
        super().__init__(name=f"average_precision_at_{k}({score_key},{model_name},{output_name})")
        self._k = k
        self._score_key = score_key
        self._query_key = query_key
        self._eval_config = eval_config
        self._model_name = model_name
        self._output_name = output_name

    def process(self, extracts: dict[str, Any]) -> Iterator[float]:
        display = rows.feature(extracts, self._query_key)
        # TFMA puts all rows without a query key into one group.
        if display.size == 0 or np.any(display != display[0]):
            raise InputDataError(f"evaluation: {self._query_key} is missing from rows of the eval split")
        label, score = rows.labels_and_predictions(extracts, self._eval_config, self._model_name, self._output_name)
        if self._score_key == CONSTANT:
            score = np.zeros(len(label))
        elif self._score_key:
            score = rows.feature(extracts, self._score_key)
        if not len(display) == len(label) == len(score):
            raise InputDataError(
                f"evaluation: {self._query_key} {display[0]} has {len(display)} rows, {len(label)} labels and "
                f"{len(score)} scores ({self._score_key or 'predictions'})"
            )
        yield average_precision(score, label, self._k)


class _Sums:
    """AP@k summed over displays, compensated so that the order of bundles does not show (Neumaier 1974)."""

    __slots__ = ("clicked", "compensation", "sum", "unclicked")

    def __init__(self) -> None:
        self.sum = 0.0
        self.compensation = 0.0
        self.clicked = 0
        self.unclicked = 0

    def add(self, value: float) -> None:
        total = self.sum + value
        if abs(self.sum) >= abs(value):
            self.compensation += (self.sum - total) + value
        else:
            self.compensation += (value - total) + self.sum
        self.sum = total


class _MeanCombineFn(beam.CombineFn):
    """AP@k of displays -> their mean and the counts."""

    def __init__(self, keys: list[metric_types.MetricKey]):
        self._keys = keys

    def create_accumulator(self) -> _Sums:
        return _Sums()

    def add_input(self, accumulator: _Sums, element: float) -> _Sums:
        if np.isnan(element):
            accumulator.unclicked += 1
        else:
            accumulator.clicked += 1
            accumulator.add(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        merged = _Sums()
        for accumulator in accumulators:
            merged.add(accumulator.sum)
            merged.compensation += accumulator.compensation
            merged.clicked += accumulator.clicked
            merged.unclicked += accumulator.unclicked
        return merged

    def extract_output(self, accumulator: _Sums) -> dict[metric_types.MetricKey, float]:
        total = accumulator.sum + accumulator.compensation
        mean = total / accumulator.clicked if accumulator.clicked else float("nan")
        return dict(zip(self._keys, (mean, accumulator.clicked, accumulator.unclicked), strict=True))
