"""The eval split's figures: rankings, metrics, slices and calibration, from the Evaluator's artifact and the Gate's verdict."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluator.eval_config import MAP_AT_12, MAP_AT_12_POPULARITY, MAP_AT_12_RANDOM
from components.evaluator.results import OVERALL, Evaluation, Metrics, SliceKey
from pipeline.report import content
from pipeline.report.content import Estimate
from schemas import features

_OF_FEATURE = f"{MAP_AT_12}_of_feature/"
_BLESSED = f"{MAP_AT_12}_blessed"
_Z = 1.959963984540054  # of a 95 % interval
_BUCKETS = 10

METRICS = (
    ("mrr", "mean reciprocal rank of the first click"),
    ("ndcg_at_12", "normalised discounted cumulative gain of the first 12"),
    ("auc", "chance that a clicked row scores above one that was not"),
    ("gauc", "AUC within displays, averaged over them"),
    ("log_loss", "mean cross-entropy of a row, in nats; lower is better"),
    ("calibration", "sum of the scores by the number of clicks; 1 is right"),
)
"""Shown beside MAP@12, where they are there."""


def summarise(evaluation: Evaluation, displays: pa.Table | None, best_possible: float | None) -> content.Evaluation:
    """Gathers the figures over all eval displays.

    Args:
        evaluation: From `read_evaluation`.
        displays: One row a display (`components.evaluator.displays`), for the intervals; None if it was not kept.
        best_possible: MAP@12 of whoever knows the click probabilities, None if they are not known.
    """
    own = evaluation.candidate[OVERALL]
    blessed = evaluation.baseline[OVERALL] if evaluation.baseline else {}
    rankings = [
        _ranking("random", "any order, exact expectation", own.get(MAP_AT_12_RANDOM), displays, MAP_AT_12_RANDOM),
        _ranking("popularity", "by smoothed as-of CTR of the ad", own.get(MAP_AT_12_POPULARITY), displays, MAP_AT_12_POPULARITY),
        _best_feature(own),
        _ranking("blessed model", "the latest blessed model before this one", blessed.get(MAP_AT_12), displays, _BLESSED),
        _ranking("this model", "the model of this run", own.get(MAP_AT_12), displays, MAP_AT_12, is_candidate=True),
        _ranking("best possible", "knows the click probabilities of the synthetic log", best_possible, None, ""),
    ]
    metrics = [
        content.Metric(name, about, _finite(own.get(name)), _finite(blessed.get(name)))
        for name, about in METRICS
        if name in own or name in blessed
    ]
    return content.Evaluation(int(own.get(f"{MAP_AT_12}_displays", 0)), tuple(r for r in rankings if r is not None), tuple(metrics))


def _ranking(
    name: str, about: str, value: float | None, displays: pa.Table | None, column: str, is_candidate: bool = False
) -> content.Ranking | None:
    if value is None or not math.isfinite(value):
        return None
    interval = _mean(displays[column]) if displays is not None and column in displays.column_names else None
    bounds = (interval.lower, interval.upper) if interval else (None, None)
    return content.Ranking(name, about, Estimate(value, *bounds), is_candidate)


def _best_feature(own: Metrics) -> content.Ranking | None:
    by_feature = {name.removeprefix(_OF_FEATURE): v for name, v in own.items() if name.startswith(_OF_FEATURE) and math.isfinite(v)}
    if not by_feature:
        return None
    name = max(by_feature, key=lambda feature: by_feature[feature])
    return content.Ranking("best single feature", f"by {name} alone", Estimate(by_feature[name]))


def mean_estimate(values: npt.NDArray[np.float64]) -> Estimate | None:
    """Returns the mean with its normal 95 % interval, mean +- 1.96 s / sqrt(n); no bounds for one value, None for none.

    Args:
        values: Shape (n,); NaN is left out.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    mean = float(values.mean())
    if len(values) == 1:
        return Estimate(mean)
    half = _Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def slices(evaluation: Evaluation, displays: pa.Table | None, verdict: Mapping[str, Any] | None) -> content.Slices:
    """Gathers the figures of every slice, by column and falling number of displays.

    The reference is the blessed model if there was one, else the popularity ranking. Differences, as far as the gate has
    computed them, are the gate's.

    Args:
        evaluation: From `read_evaluation`.
        displays: As in `summarise`.
        verdict: What `verdict.json` says.
    """
    judged = {str(row.get("slice")): row for row in (verdict or {}).get("slices") or ()}
    has_blessed = evaluation.baseline is not None
    rows = [
        _slice(key, metrics, (evaluation.baseline or {}).get(key, {}), displays, judged, has_blessed)
        for key, metrics in evaluation.candidate.items()
        if key != OVERALL
    ]
    order = {column: i for i, column in enumerate(dict.fromkeys(_columns(key) for key in evaluation.candidate))}
    kept = sorted((row for row in rows if row), key=lambda row: (order[row.column], *_place(row)))
    return content.Slices("the blessed model" if has_blessed else "popularity", tuple(kept))


def _place(row: content.Slice) -> tuple[float, str]:
    """Numbers by value, names by falling number of displays."""
    if re.fullmatch(r"-?\d+(\.\d+)?", row.value):
        return float(row.value), row.value
    return -float(row.displays or 0), row.value


def value_names(column: str) -> dict[str, str]:
    """Returns what the values of an indicator mean, as far as the feature table lists them in its `about`.

    It does so in one of two ways: `0 desktop, 1 mobile, 2 tablet`, or `local hour: 5-7, 8-10`, as many as there are values.
    """
    feature = next((f for f in features.FEATURES if f.name == column and f.kind == "indicator"), None)
    if feature is None:
        return {}
    first, _, rest = feature.about.partition(": ")
    numbered = dict(re.findall(r"\b(\d+) ([a-z]+)", first))
    listed = rest.split(", ")
    if len(numbered) == feature.buckets:
        return numbered
    return {str(i): name for i, name in enumerate(listed)} if len(listed) == feature.buckets else {}


def slice_name(key: SliceKey) -> str:
    """Returns a slice's name, such as `event_platform=1` or `event_platform=1,event_country=US`."""
    return ",".join(f"{column}={value}" for column, value in key)


def _columns(key: SliceKey) -> str:
    return " x ".join(column for column, _ in key)


def _slice(
    key: SliceKey,
    own: Metrics,
    blessed: Metrics,
    displays: pa.Table | None,
    judged: Mapping[str, Mapping[str, Any]],
    has_blessed: bool,
) -> content.Slice | None:
    value, popularity = _finite(own.get(MAP_AT_12)), _finite(own.get(MAP_AT_12_POPULARITY))
    if value is None:
        return None
    estimate, difference = Estimate(value), None
    reference = blessed.get(MAP_AT_12) if has_blessed else popularity
    if reference is not None and math.isfinite(reference):
        difference = Estimate(value - reference)
    inside = _of_slice(displays, key)
    if inside is not None:
        estimate = _mean(inside[MAP_AT_12]) or estimate
        column = _BLESSED if has_blessed else MAP_AT_12_POPULARITY
        if column in inside.column_names:
            difference = _mean(pc.subtract(inside[MAP_AT_12], inside[column])) or difference
    gate = judged.get(slice_name(key), {})
    if has_blessed and gate.get("difference") is not None:
        difference = Estimate(gate["difference"], gate.get("lower"), gate.get("upper"))
    count = own.get(f"{MAP_AT_12}_displays")
    return content.Slice(
        _columns(key),
        ", ".join(str(part) for _, part in key),
        ", ".join(filter(None, (value_names(column).get(str(part), "") for column, part in key))),
        None if count is None else int(count),
        estimate,
        popularity,
        difference,
        gate.get("adjusted_p_value"),
        bool(gate.get("significant")),
    )


def _of_slice(displays: pa.Table | None, key: SliceKey) -> pa.Table | None:
    if displays is None or any(f"slice.{column}" not in displays.column_names for column, _ in key):
        return None
    for column, value in key:
        displays = displays.filter(pc.equal(displays[f"slice.{column}"], str(value)))
    return displays


def _mean(column: pa.ChunkedArray) -> Estimate | None:
    return mean_estimate(np.asarray(column.to_numpy(zero_copy_only=False), np.float64))


def buckets(histogram: Sequence[tuple[float, float, float]], count: int = _BUCKETS) -> tuple[content.Bucket, ...]:
    """Merges the buckets of a calibration histogram into about `count` of like many rows.

    Args:
        histogram: Rows, sum of labels and sum of scores of each bucket, by ascending score.
        count: How many to make, at most.

    Returns:
        Mean score and share of clicks with its Wilson 95 % interval (E. B. Wilson, JASA 22, 1927), by ascending score.
    """
    filled = np.array([entry for entry in histogram if entry[0] > 0], np.float64).reshape(-1, 3)  # (n, 3)
    if not len(filled):
        return ()
    before = np.cumsum(filled[:, 0]) - filled[:, 0]
    place = np.minimum((before + filled[:, 0] / 2) / filled[:, 0].sum() * count, count - 1).astype(int)
    merged = [filled[place == i].sum(axis=0) for i in np.unique(place)]
    return tuple(content.Bucket(n, score / n, _wilson(clicks / n, n)) for n, clicks, score in (map(float, m) for m in merged))


def _wilson(share: float, n: float) -> Estimate:
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def read_histogram(folder: Path) -> list[tuple[float, float, float]]:
    """Reads TFMA's overall calibration histogram of the candidate: rows, sum of labels, sum of scores of each bucket.

    Returns:
        Empty if there is none.
    """
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    from components.evaluator.eval_config import CANDIDATE

    for record in writer.load_and_deserialize_plots(str(folder)):
        if record.slice_key.single_slice_keys:
            continue
        for entry in record.plot_keys_and_values:
            found = entry.value.calibration_histogram_buckets.buckets
            if found and entry.key.model_name in ("", CANDIDATE):
                return [
                    (b.num_weighted_examples.value, b.total_weighted_label.value, b.total_weighted_refined_prediction.value)
                    for b in sorted(found, key=lambda bucket: bucket.lower_threshold_inclusive)
                ]
    return []


def verdict(found: Mapping[str, Any]) -> content.Verdict:
    """Reads what `verdict.json` says; what a later version does not say is left out."""
    comparison = found.get("comparison")
    return content.Verdict(
        bool(found["blessed"]),
        tuple(map(str, found.get("reasons") or ())),
        tuple(checks(found.get("checks"))),
        content.Comparison(
            Estimate(comparison["difference"], comparison.get("lower"), comparison.get("upper")),
            comparison.get("confidence"),
            comparison.get("detectable_difference"),
            comparison.get("displays"),
            comparison.get("resamples"),
        )
        if comparison and comparison.get("difference") is not None
        else None,
    )


def infra(found: Mapping[str, Any]) -> content.Infra:
    """Reads what `infra.json` says."""
    latency = found.get("latency_ms") or {}
    return content.Infra(
        bool(found["passed"]), tuple(checks(found.get("checks"))), latency.get("p50"), latency.get("p99"), found.get("bytes")
    )


def checks(found: Sequence[Mapping[str, Any]] | None) -> list[content.Check]:
    """Reads a list of checks."""
    return [
        content.Check(str(c.get("name", "")), bool(c.get("passed")), str(c.get("sentence") or c.get("found") or ""))
        for c in found or ()
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
