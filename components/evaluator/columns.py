"""Batches of tf.Examples -> the few columns that an evaluation reads -> tables of whole displays' rows."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluator.judge import Plan, score_column
from components.evaluator.names import LABEL_KEY, QUERY_KEY
from components.evaluator.slices import columns_read
from schemas import features
from schemas.errors import InputDataError

REQUIRED = (QUERY_KEY, "ad_id", LABEL_KEY, "popularity")
"""Columns without which a row cannot be judged."""

RANKED_BY = tuple(f.name for f in features.FEATURES if f.kind == "numeric" and f.level == "item")
"""Features that are tried as rankings of their own. The others are not numbers, or the same for all ads of a display."""

_ARROW = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}


def table_types(plan: Plan) -> dict[str, pa.DataType]:
    """Returns name -> type of the columns that `components.evaluator.judge` reads, less the scores."""
    kinds = features.columns()
    types = {name: _ARROW[kinds[name]] for name in (*REQUIRED, *sorted(columns_read(plan.slice_columns)))}
    # As rankings go, whole numbers beyond 2 ** 24 are not told apart; no count and no age in days gets there.
    return types | {name: pa.float32() for name in plan.features if name not in types}


def read_batch(batch: pa.RecordBatch, names: Mapping[str, pa.DataType]) -> dict[str, npt.NDArray]:
    """Returns columns of a batch of decoded tf.Examples, each (n,), as TFMA keeps features.

    A missing number is NaN, whatever the type, a missing string None.

    Raises:
        InputDataError: One of `REQUIRED` is missing from a row, or a column has several values in a row.
    """
    columns = {}
    for name, kind in names.items():
        place = batch.schema.get_field_index(name)
        values = pa.nulls(batch.num_rows, kind) if place < 0 else _one_value(name, batch.column(place), kind)
        if values.null_count and name in REQUIRED:
            raise InputDataError(f"evaluation: {name} is missing from rows of the eval split")
        columns[name] = values.to_numpy(zero_copy_only=False)
    return columns


def to_table(columns: Mapping[str, npt.NDArray], scores: Mapping[str, npt.NDArray], plan: Plan) -> pa.Table:
    """Returns columns as `read_batch` gave them, and each model's scores, as one table for `components.evaluator.judge`.

    Raises:
        InputDataError: A model did not give one score a row.
    """
    n = len(columns[QUERY_KEY])
    arrays = {name: _typed(columns[name], kind) for name, kind in table_types(plan).items()}
    for model in plan.models:
        score = np.asarray(scores[model]).reshape(-1)
        if len(score) != n:
            raise InputDataError(
                f"evaluation: model {model or 'candidate'!r} must give one score a row. Received: {len(score)} for {n} rows"
            )
        arrays[score_column(model)] = pa.array(score)
    return pa.table(arrays)


def _typed(values: npt.NDArray, kind: pa.DataType) -> pa.Array:
    return pa.array(values, from_pandas=True).cast(kind)


def _one_value(name: str, lists: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists of one value or none -> values, null for none."""
    if pa.types.is_null(lists.type):
        return pa.nulls(len(lists), kind)
    values = lists.flatten()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    if lengths.max(initial=0) > 1:
        raise InputDataError(f"evaluation: {name} has {lengths.max()} values in a row of the eval split; one can be judged")
    present = lengths == 1
    if not present.all():
        values = values.take(pa.array(np.cumsum(present) - 1, mask=~present))
    if pa.types.is_large_binary(values.type):
        values = values.cast(pa.large_string())
    return values.cast(kind)
