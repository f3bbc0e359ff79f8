"""Feature rows as Arrow tables <-> serialised tf.Examples, a whole table at a time."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.coders import example_coder

from schemas import features
from schemas.data_schema import build_schema

_ARROW = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}


def arrow_schema() -> pa.Schema:
    """The Arrow schema of feature rows: every column of the feature table, lists where a column holds several values."""
    return pa.schema(
        [
            pa.field(name, pa.list_(_ARROW[dtype]) if features.is_list(name) else _ARROW[dtype])
            for name, dtype in features.columns().items()
        ]
    )


def encode(rows: pa.Table) -> list[bytes]:
    """Serialises feature rows as tf.Examples, one a row; a null is an absent key.

    Args:
        rows: A table whose columns are among `arrow_schema()`.
    """
    arrays = {}
    for name in rows.column_names:
        column = rows[name].combine_chunks() if rows[name].num_chunks != 1 else rows[name].chunk(0)
        if pa.types.is_string(column.type):
            column = column.cast(pa.binary())  # the encoder knows no utf8
        elif pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
            column = column.cast(pa.list_(pa.binary()))
        arrays[name] = column if pa.types.is_list(column.type) else _as_lists(column)
    if not rows.num_rows:
        return []
    return example_coder.RecordBatchToExamplesEncoder().encode(pa.RecordBatch.from_pydict(arrays))


def decode(serialized: Sequence[bytes], columns: Sequence[str]) -> pa.Table:
    """Parses tf.Examples that `encode` made, one row each; an absent key is a null.

    Args:
        serialized: The Examples.
        columns: Columns of the feature table that hold one value a row.
    """
    wanted = schema_pb2.Schema(feature=[feature for feature in build_schema().feature if feature.name in columns])
    parsed = example_coder.ExamplesToRecordBatchDecoder(wanted.SerializeToString()).DecodeBatch(list(serialized))
    types = arrow_schema()
    return pa.table({name: pc.list_element(parsed[name], 0).cast(types.field(name).type) for name in columns})


def _as_lists(column: pa.Array) -> pa.Array:
    """Turns scalars into lists of one, nulls into null lists (a list of none would be a present key without a value)."""
    valid = pc.is_valid(column)
    lengths = pc.cast(valid, pa.int32())
    ends = pc.cumulative_sum(lengths)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    values = column.drop_null()
    if column.null_count:
        # A null offset marks the list that starts there as null.
        mask = pa.concat_arrays([pc.invert(valid), pa.array([False])])
        offsets = pc.if_else(mask, pa.scalar(None, pa.int32()), offsets)
    return pa.ListArray.from_arrays(offsets, values)
