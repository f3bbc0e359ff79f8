"""Reads an Evaluator's `evaluation` artifact into plain dicts."""

import json
from dataclasses import dataclass
from pathlib import Path

from tensorflow_model_analysis.proto import metrics_for_slice_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

from components.evaluator.names import BASELINE
from schemas.errors import InputDataError

SliceKey = tuple[tuple[str, str | int | float], ...]
"""The columns of a slice with their values, such as `(("event_platform", 1),)`."""

Metrics = dict[str, float]

OVERALL: SliceKey = ()

_PROBLEM_FILE = "baseline.json"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of one evaluation by slice; `OVERALL` is all of the eval split.

    Attributes:
        candidate: Metrics of the model that was just trained.
        baseline: Metrics of the model it was compared with; None if there was none.
        baseline_problem: Why the model that it should have been compared with could not be judged; None if it could, or there
            is none. Whoever decides by an evaluation must not take such a model for one that is not there.
    """

    candidate: dict[SliceKey, Metrics]
    baseline: dict[SliceKey, Metrics] | None
    baseline_problem: str | None = None


def read_evaluation(directory: str | Path) -> Evaluation:
    """Reads the folder of an `evaluation` artifact.

    Raises:
        InputDataError: There are no metrics in it.
    """
    candidate: dict[SliceKey, Metrics] = {}
    baseline: dict[SliceKey, Metrics] = {}
    for record in writer.load_and_deserialize_metrics(str(directory)):
        key = _slice_key(record)
        for entry in record.metric_keys_and_values:
            if entry.key.is_diff:
                continue
            value = _number(entry.value)
            if value is not None:
                models = baseline if entry.key.model_name == BASELINE else candidate
                models.setdefault(key, {})[entry.key.name] = value
    if OVERALL not in candidate:
        raise InputDataError(f"{directory}: holds no evaluation; is the eval split empty?")
    problem = Path(directory) / _PROBLEM_FILE
    return Evaluation(candidate, baseline or None, json.loads(problem.read_text())["problem"] if problem.exists() else None)


def write_baseline_problem(directory: str | Path, problem: str) -> None:
    """Notes in the folder of an `evaluation` artifact why the model to compare with cannot be judged."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    (Path(directory) / _PROBLEM_FILE).write_text(json.dumps({"problem": problem}) + "\n")


def _slice_key(record: metrics_for_slice_pb2.MetricsForSlice) -> SliceKey:
    parts = []
    for single in record.slice_key.single_slice_keys:
        kind = single.WhichOneof("kind")
        value = getattr(single, kind)
        parts.append((single.column, value.decode() if isinstance(value, bytes) else value))
    return tuple(parts)


def _number(value: metrics_for_slice_pb2.MetricValue) -> float | None:
    kind = value.WhichOneof("type")
    if kind == "double_value":
        return value.double_value.value
    if kind == "bounded_value":
        return value.bounded_value.value.value
    return None
