import pyarrow as pa
import pytest

from components.evaluator.displays import FOLDER, displays_schema, read_displays, slice_columns, write_displays
from schemas.errors import InputDataError


def table(ids, has_baseline=True):
    rows = [
        {"display_id": i, "ads": 3, "clicks": i % 2, "map_at_12": 1.0 if i % 2 else None, "slice.event_platform": str(i % 3)}
        for i in ids
    ]
    return pa.Table.from_pylist(rows, displays_schema(("event_platform", "ad_age"), has_baseline))


def test_written_in_parts_and_read_in_order(tmp_path):
    write_displays(table([7, 2]), tmp_path, 1, 2)
    write_displays(table([5]), tmp_path, 0, 2)
    write_displays(table([5]), tmp_path, 0, 2)  # a retried worker
    got = read_displays(tmp_path)
    assert got["display_id"].to_pylist() == [2, 5, 7]
    assert got["map_at_12"].to_pylist() == [None, 1.0, 1.0]
    assert got["slice.event_platform"].to_pylist() == ["2", "2", "1"]
    assert slice_columns(got) == ("event_platform", "ad_age")


def test_without_a_blessed_model_its_column_is_absent():
    assert "map_at_12_blessed" not in table([1], has_baseline=False).column_names
    assert "map_at_12_blessed" in table([1]).column_names


def test_no_displays(tmp_path):
    with pytest.raises(InputDataError, match="holds no displays"):
        read_displays(tmp_path)


def test_a_missing_file(tmp_path):
    write_displays(table([1]), tmp_path, 0, 3)
    with pytest.raises(InputDataError, match="Received: 1 of 3 files"):
        read_displays(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more"])
def test_a_damaged_file(tmp_path, content):
    write_displays(table([1]), tmp_path, 0, 1)
    (tmp_path / FOLDER / "displays-00000-of-00001.parquet").write_bytes(content)
    with pytest.raises(InputDataError, match=r"displays-00000-of-00001\.parquet"):
        read_displays(tmp_path)
