"""Statistics of the feature table, and how far distributions moved, from what StatisticsGen left."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.strict_example_validator import describe
from pipeline.report import content

_TYPES = {
    statistics_pb2.FeatureNameStatistics.INT: schema_pb2.INT,
    statistics_pb2.FeatureNameStatistics.FLOAT: schema_pb2.FLOAT,
    statistics_pb2.FeatureNameStatistics.STRING: schema_pb2.BYTES,
}

Stats: TypeAlias = Any  # statistics_pb2.DatasetFeatureStatisticsList, which mypy cannot see


def read_split(folder: Path, split: str) -> Stats:
    """Reads the statistics of a split.

    Raises:
        OSError: There are none.
    """
    return statistics_pb2.DatasetFeatureStatisticsList.FromString((folder / f"Split-{split}" / "FeatureStats.pb").read_bytes())


def summarise(
    train: Stats, evaluation: Stats, previous: Stats | None, why_no_drift: str, threshold: float, columns: Iterable[str]
) -> content.Statistics:
    """Puts the statistics of a run and its drift together.

    Args:
        train: Of the train split.
        evaluation: Of the eval split.
        previous: Of the blessed run's train split, None if there is none.
        why_no_drift: If there is none, why not.
        threshold: From where on a drift is marked.
        columns: Names of the columns to tell of.
    """
    shifts = distances(evaluation, train)
    drifts = {} if previous is None else distances(train, previous)
    dataset = train.datasets[0]
    by_name = {_name(feature): feature for feature in dataset.features}
    return content.Statistics(
        dataset.num_examples,
        evaluation.datasets[0].num_examples,
        tuple(
            _describe(by_name[name], dataset.num_examples, drifts.get(name), shifts.get(name))
            for name in columns
            if name in by_name
        ),
        None if previous is not None else content.Absent(why_no_drift),
        threshold,
    )


def distances(current: Stats, previous: Stats) -> dict[str, float]:
    """Measures by TFDV's own comparators how far each feature is from what it was.

    Returns:
        By name: of a text the L-infinity distance of the shares of its values, of a number the approximate Jensen-Shannon
        divergence of its histograms; both from 0 to 1. A feature of another type than before, or in one only, is left out.
    """
    import tensorflow_data_validation as tfdv  # after TFX, which it breaks if it comes first

    types = [{_name(feature): feature.type for feature in stats.datasets[0].features} for stats in (current, previous)]
    schema = schema_pb2.Schema()
    for name, kind in types[0].items():
        if types[1].get(name) != kind or kind not in _TYPES:
            continue
        feature = schema.feature.add(name=name, type=_TYPES[kind])
        # Without a threshold, TFDV does not measure.
        if kind == statistics_pb2.FeatureNameStatistics.STRING:
            feature.drift_comparator.infinity_norm.threshold = 1.0
        else:
            feature.drift_comparator.jensen_shannon_divergence.threshold = 1.0
    found = tfdv.validate_statistics(current, schema, previous_statistics=previous).drift_skew_info
    return {info.path.step[0]: info.drift_measurements[0].value for info in found if info.drift_measurements}


def _describe(
    feature: statistics_pb2.FeatureNameStatistics, rows: int, drift: float | None, shift: float | None
) -> content.FeatureStats:
    if feature.WhichOneof("stats") == "num_stats":
        number = feature.num_stats
        return content.FeatureStats(
            _name(feature),
            "number",
            _missing(number.common_stats, rows),
            mean=number.mean,
            deviation=number.std_dev,
            smallest=number.min,
            median=number.median,
            largest=number.max,
            drift=drift,
            shift=shift,
        )
    text = feature.string_stats
    return content.FeatureStats(
        _name(feature),
        "text",
        _missing(text.common_stats, rows),
        distinct=text.unique,
        top=text.top_values[0].value if text.top_values else None,
        drift=drift,
        shift=shift,
    )


def _missing(common: statistics_pb2.CommonStatistics, rows: int) -> float:
    return 1.0 - common.num_non_missing / rows if rows else 0.0


def _name(feature: statistics_pb2.FeatureNameStatistics) -> str:
    return feature.name or ".".join(feature.path.step)


def read_anomalies(folder: Path) -> tuple[content.Anomaly, ...]:
    """Reads what ExampleValidator found, of all splits.

    Raises:
        OSError: There is nothing to read.
    """
    files = sorted(folder.glob("Split-*/SchemaDiff.pb"))
    if not files:
        raise FileNotFoundError(2, "no anomalies file", str(folder))
    return tuple(
        content.Anomaly(file.parent.name.removeprefix("Split-"), line)
        for file in files
        for line in describe(anomalies_pb2.Anomalies.FromString(file.read_bytes()))
    )
