from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.features import Feature, model_inputs
from schemas.records import RecordError, record_layout

AD = Feature("ad", "item", "id", "int64", "", buckets=40_000, embedding_dim=2)
TOPICS = Feature("topics", "item", "ids", "int64", "", buckets=300, embedding_dim=2, hotness=3)
DAY = Feature("day", "item", "indicator", "int64", "", buckets=7)
AGE = Feature("age", "item", "numeric", "float32", "", missing="zero")
LAYOUT = record_layout((AD, TOPICS, DAY, AGE))


def make_columns(n, seed=0):
    draw = np.random.default_rng(seed)
    return {
        "ad": draw.integers(-1, 40_000, n),
        "topics": draw.integers(-1, 300, (n, 3)),
        "day": draw.integers(-1, 7, n),
        "age": draw.normal(size=n).astype(np.float32),
        "label": draw.integers(0, 2, n),
    }


def encode(n, sizes=None, **changes):
    columns = make_columns(n) | changes
    sizes = np.array([n] if sizes is None else sizes)
    return LAYOUT.encode(LAYOUT.pack(columns), sizes, np.arange(len(sizes)) + 7), columns


def test_the_narrowest_types_that_hold_the_values():
    assert {c.name: (c.block, c.start, c.width) for c in LAYOUT.columns} == {
        "ad": ("int32", 0, 1),
        "age": ("float32", 0, 1),
        "topics": ("int16", 0, 3),
        "day": ("int8", 0, 1),
        "label": ("int8", 1, 1),
    }
    assert LAYOUT.row_bytes == 4 + 4 + 6 + 2


@pytest.mark.parametrize(("buckets", "block"), [(128, "int8"), (129, "int16"), (1 << 15, "int16"), ((1 << 15) + 1, "int32")])
def test_bounds_of_types(buckets, block):
    layout = record_layout((Feature("x", "item", "id", "int64", "", buckets=buckets, embedding_dim=1),))
    assert layout.columns[0].block == block
    packed = layout.pack({"x": np.array([-1, buckets - 1]), "label": np.array([0, 1])})
    assert layout.decode(layout.encode(packed, np.array([2]), np.array([1]))).columns["x"].tolist() == [-1, buckets - 1]


def test_a_row_of_the_whole_feature_table_takes_204_bytes():
    assert record_layout(model_inputs()).row_bytes == 204


@given(st.integers(0, 50), st.integers(0, 5))
def test_round_trip(n, seed):
    columns = make_columns(n, seed)
    record = LAYOUT.decode(LAYOUT.encode(LAYOUT.pack(columns), np.array([n] if n else []), np.array([9] if n else [])))
    assert record.columns.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(record.columns[name], values)
    assert record.sizes.tolist() == [n][: bool(n)]


def test_displays():
    record = LAYOUT.decode(encode(5, [2, 3])[0])
    assert record.sizes.tolist() == [2, 3]
    assert record.display_ids.tolist() == [7, 8]


def test_sizes_must_add_up():
    with pytest.raises(RecordError, match="4 rows"):
        encode(5, [2, 2])


def test_a_value_that_does_not_fit_is_not_cut_off():
    with pytest.raises(RecordError, match="column topics"):
        encode(2, topics=np.full((2, 3), 40_000))


@pytest.mark.parametrize("keep", [0, 10, 28, 40, -1])
def test_cut_short(keep):
    with pytest.raises(RecordError):
        LAYOUT.decode(encode(5)[0][:keep])


@pytest.mark.parametrize("at", range(36))
def test_a_flipped_byte_of_the_header_is_seen(at):
    record = bytearray(encode(5)[0])
    record[at] ^= 0x10
    if not 32 <= at < 40:  # a display's id: TFRecord's checksum covers it
        with pytest.raises(RecordError):
            LAYOUT.decode(bytes(record))


@pytest.mark.parametrize(
    "features",
    [(AD, TOPICS, DAY), (replace(AD, name="advertiser"), TOPICS, DAY, AGE), (replace(AD, buckets=40_001), TOPICS, DAY, AGE)],
)
def test_another_layout_is_refused(features):
    with pytest.raises(RecordError, match="another layout"):
        record_layout(features).decode(encode(5)[0])
