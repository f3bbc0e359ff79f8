"""Judges whole displays: rows with scores in, sums by slice and a table of the displays out. Nothing here is done row by row."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluator import displays as table
from components.evaluator import tally
from components.evaluator.ranking import Displays, aucs, average_precisions, group, normalized_dcgs, rank, reciprocal_ranks
from components.evaluator.results import OVERALL, SliceKey
from components.evaluator.scores import BUCKETS, bucket_of, log_losses
from components.evaluator.slices import find_slice_column
from components.evaluator.tally import Tally

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compute.

    Attributes:
        models: Names of the models, whose scores are in columns `score_column(name)`.
        baseline: Name of the model that the others are compared with; None if there is none.
        slices: The slices, each by one or several columns; the whole is always there.
        features: Columns that are tried as rankings of their own.
    """

    models: tuple[str, ...]
    baseline: str | None
    slices: tuple[tuple[str, ...], ...]
    features: tuple[str, ...]

    @property
    def slice_columns(self) -> tuple[str, ...]:
        """The single slice columns."""
        return tuple(dict.fromkeys(name for entry in self.slices for name in entry))


def score_column(model: str) -> str:
    """Returns the name of the column that holds a model's scores."""
    return f"score/{model}"


def judge(rows: pa.Table, plan: Plan) -> tuple[Tally, pa.Table]:
    """Judges displays.

    Args:
        rows: One row at least: `display_id`, `ad_id`, `label`, `popularity`, a score column for each model, the features and what
            the slice columns read. All rows of a display are there, in any order.
        plan: What to compute.

    Returns:
        The sums, and a table as in `components.evaluator.displays.displays_schema`.
    """
    # By ad as well: sums are then the same to the last bit in whatever order the rows come.
    rows = rows.sort_by([("display_id", "ascending"), ("ad_id", "ascending")]).combine_chunks()
    columns = {name: column.chunk(0) for name, column in zip(rows.column_names, rows.columns, strict=True)}
    label = _numbers(columns["label"]) > 0
    displays = group(columns["display_id"].to_numpy(), label)
    precisions = {
        table.AP_RANDOM: average_precisions(rank(displays, np.zeros(len(label), np.int8))),
        table.AP_POPULARITY: average_precisions(rank(displays, columns["popularity"].to_numpy())),
    }
    has_auc = (displays.clicks > 0) & (displays.clicks < displays.ads)
    counts = [np.ones(len(displays.ids)), displays.clicks > 0, displays.ads, displays.clicks, displays.ads * has_auc]
    sums = [*counts, *map(np.nan_to_num, precisions.values())]
    scores = {model: _numbers(columns[score_column(model)]).astype(np.float64) for model in plan.models}
    for model, score in scores.items():
        ranking = rank(displays, score)
        measures = [measure(ranking) for measure in (average_precisions, normalized_dcgs, reciprocal_ranks)]
        precisions[table.AP_BLESSED if model == plan.baseline else table.AP] = measures[0]
        weighted_auc = displays.ads * aucs(ranking)
        sums += [*_row_sums(displays, score, label), *map(np.nan_to_num, (*measures, weighted_auc))]
    values = {name: find_slice_column(name).of_displays(columns, displays.starts) for name in plan.slice_columns}
    keys, codes = _slices(values, plan.slices, len(displays.ids))
    of_features = [_of_feature(displays, _numbers(columns[name])) for name in plan.features]
    judged = Tally(
        keys,
        _sum_by_slice(np.stack(sums, axis=1).astype(np.float64), codes, len(keys)),
        tuple(_histogram(score, label, displays, codes) for score in scores.values()),
        np.array(of_features).reshape(len(of_features), 2),
    )
    return judged, _table(displays, precisions, values, plan)


def _numbers(column: pa.Array) -> npt.NDArray:
    """Null becomes NaN."""
    return column.to_numpy(zero_copy_only=False)


def _row_sums(displays: Displays, score: Floats, label: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Log loss and score, summed over the rows of each display; NaN where a score is."""
    return np.add.reduceat(log_losses(score, label), displays.starts), np.add.reduceat(score, displays.starts)


def _of_feature(displays: Displays, value: npt.NDArray) -> tuple[float, float]:
    """AP@12 of ranking by a feature alone, falling and rising, summed over displays. Where it is missing it ranks last in both."""
    return tuple(float(np.nansum(average_precisions(rank(displays, signed)))) for signed in (value, -value))  # type: ignore[return-value]


def _slices(
    values: dict[str, pa.Array], entries: tuple[tuple[str, ...], ...], n: int
) -> tuple[tuple[SliceKey, ...], list[npt.NDArray[np.int64]]]:
    """Returns the slices, and for the whole and each entry the slice of each of the n displays, -1 where it is in none."""
    keys: list[SliceKey] = [OVERALL]
    codes = [np.zeros(n, np.int64)]
    for entry in entries:
        names = sorted(entry)  # TFMA's order
        encoded = [values[name].dictionary_encode() for name in names]
        code, valid = np.zeros(n, np.int64), np.ones(n, bool)
        for column in encoded:
            index = pc.fill_null(column.indices, -1).to_numpy().astype(np.int64)
            code, valid = code * len(column.dictionary) + index, valid & (index >= 0)
        distinct, place = np.unique(code[valid], return_inverse=True)
        places = np.unravel_index(distinct, [max(len(column.dictionary), 1) for column in encoded])
        found = [column.dictionary.take(pa.array(at)).to_pylist() for column, at in zip(encoded, places, strict=True)]
        code[valid], code[~valid] = place + len(keys), -1
        codes.append(code)
        keys += [tuple(zip(names, combination, strict=True)) for combination in zip(*found, strict=True)]
    return tuple(keys), codes


def _sum_by_slice(matrix: Floats, codes: list[npt.NDArray[np.int64]], slices: int) -> Floats:
    """(displays, m) -> (slices, m)."""
    total = np.zeros((slices, matrix.shape[1]))
    for code in codes:
        inside = np.flatnonzero(code >= 0)
        if len(inside):
            order = inside[np.argsort(code[inside], kind="stable")]
            starts = np.flatnonzero(np.r_[True, np.diff(code[order]) > 0])
            total[code[order][starts]] = np.add.reduceat(matrix[order], starts, axis=0)
    return total


def _histogram(
    score: Floats, label: npt.NDArray[np.bool_], displays: Displays, codes: list[npt.NDArray[np.int64]]
) -> tally.Histogram:
    """Rows by slice and bucket of the score; rows without a score are left out."""
    values = np.stack([np.ones(len(score)), label, score], axis=1)
    bucket, scored = bucket_of(score), ~np.isnan(score)
    parts = []
    for code in codes:
        of_row = np.repeat(code, displays.ads)
        inside = scored & (of_row >= 0)
        parts.append(tally.count_cells(of_row[inside] * BUCKETS + bucket[inside], values[inside]))
    # The slices of one entry come behind those of the entry before it.
    return tally.Histogram(np.concatenate([p.cells for p in parts]), np.concatenate([p.values for p in parts]))


def _table(displays: Displays, precisions: dict[str, Floats], values: dict[str, pa.Array], plan: Plan) -> pa.Table:
    columns = {
        "display_id": displays.ids,
        "ads": displays.ads,
        "clicks": displays.clicks,
        **{name: pa.array(value, mask=np.isnan(value)) for name, value in precisions.items()},
        **{f"{table.SLICE_PREFIX}{name}": pc.cast(value, pa.string()) for name, value in values.items()},
    }
    schema = table.displays_schema(plan.slice_columns, plan.baseline is not None)
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)
