import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.partition import fraction, mix, partition_of, receive, scatter, ship

ids = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50).map(lambda x: np.array(x, np.int64))


def test_the_hash_is_splitmix64_and_never_changes():
    # First outputs of SplitMix64 seeded with 0 and with 1, as published with the generator.
    assert mix(np.array([0, 1])).tolist() == [0xE220A8397B1DCDAF, 0x910A2DEC89025CC1]


def test_fractions_are_uniform():
    values = fraction(np.arange(100_000))
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.005
    assert abs((values < 0.1).mean() - 0.1) < 0.005


@given(ids, st.integers(1, 7))
def test_scattering_keeps_every_row_once_in_order(values, partitions):
    rows = pa.table({"id": values, "place": np.arange(len(values))})
    numbers = partition_of(values, partitions)
    parts = dict(scatter(rows, numbers))
    assert sorted(parts) == sorted(set(numbers.tolist()))
    for number, part in parts.items():
        assert part["place"].to_pylist() == np.flatnonzero(numbers == number).tolist()


@given(ids)
def test_shipping_and_receiving_is_identity(values):
    rows = pa.table({"id": values, "text": pa.array([None if v % 3 == 0 else str(v) for v in values.tolist()], pa.string())})
    assert receive(ship(rows, "no folder is needed for a small table")).equals(rows)


def test_large_tables_go_through_a_file(tmp_path):
    rows = pa.table({"id": np.random.default_rng(0).integers(0, 1 << 62, 20_000)})
    parcel = ship(rows, str(tmp_path))
    assert [str(file) for file in tmp_path.iterdir()] == [parcel]
    assert receive(parcel).equals(rows)
