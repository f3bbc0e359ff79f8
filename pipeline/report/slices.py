"""The figures of every slice, from the Evaluator's artifact and the Gate's verdict."""

import math
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.evaluator.displays import AP, AP_BLESSED, AP_POPULARITY, SLICE_PREFIX
from components.evaluator.names import MAP_AT_12, MAP_AT_12_POPULARITY, displays_key
from components.evaluator.results import OVERALL, Evaluation, Metrics, SliceKey
from components.evaluator.slices import find_slice_column
from pipeline.report import content
from pipeline.report.content import Estimate
from pipeline.report.estimates import column_estimate, finite
from schemas import features


def summarise(evaluation: Evaluation, displays: pa.Table | None, verdict: Mapping[str, Any] | None) -> content.Slices:
    """Gathers the figures of every slice, by column and falling number of displays.

    The reference is the blessed model if there was one, else the popularity ranking. Which slices are worse is what the gate says.

    Args:
        evaluation: From `read_evaluation`.
        displays: One row a display, for the intervals; None if it was not kept.
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
    columns = {column: find_slice_column(column).about for key in evaluation.candidate for column, _ in key}
    return content.Slices("the blessed model" if has_blessed else "popularity", tuple(kept), tuple(columns.items()))


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
    """Returns a slice's name, such as `event_platform=1` or `event_platform=1, event_country=US`."""
    return ", ".join(f"{column}={value}" for column, value in key)


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
    value, popularity = finite(own.get(MAP_AT_12)), finite(own.get(MAP_AT_12_POPULARITY))
    if value is None:
        return None
    estimate, difference = Estimate(value), None
    reference = blessed.get(MAP_AT_12) if has_blessed else popularity
    if reference is not None and math.isfinite(reference):
        difference = Estimate(value - reference)
    inside = _of_slice(displays, key)
    if inside is not None:
        estimate = column_estimate(inside[AP]) or estimate
        column = AP_BLESSED if has_blessed else AP_POPULARITY
        if column in inside.column_names:
            difference = column_estimate(pc.subtract(inside[AP], inside[column])) or difference
    gate = judged.get(slice_name(key), {})
    count = own.get(displays_key(MAP_AT_12))
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
    if displays is None or any(f"{SLICE_PREFIX}{column}" not in displays.column_names for column, _ in key):
        return None
    for column, value in key:
        displays = displays.filter(pc.equal(displays[f"{SLICE_PREFIX}{column}"], str(value)))
    return displays
