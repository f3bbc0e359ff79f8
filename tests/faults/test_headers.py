"""Headers as other programs write them, in every table: columns are found by name; a missing or repeated one is refused."""

import pytest

from schemas.errors import InputDataError
from schemas.tables import OUTBRAIN
from tests.faults.damage import READ_TABLES, compress, rows_of
from tests.tables import write_bytes, write_log, write_table
from transforms.dimensions import load_table
from transforms.sources import find_sources

BLOCK_BYTES = 1 << 14


def read(folder, role):
    rows, rejects = load_table(find_sources(str(folder), OUTBRAIN)[role], BLOCK_BYTES)
    assert rejects == []
    return rows


def headers(role):
    return [column.header for column in OUTBRAIN.table(role).columns]


@pytest.mark.parametrize("role", READ_TABLES)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_reordered_and_further_columns_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path, role, suffix):
    write_log(tmp_path)
    write_table(tmp_path, role, rows_of(role))
    expected = read(tmp_path, role)
    file = tmp_path / f"{OUTBRAIN.table(role).stem}.csv"
    lines = [",".join(["more", *reversed(headers(role))]), *(",".join(map(str, ["x", *reversed(row)])) for row in rows_of(role))]
    file.write_bytes("\ufeff".encode() + "".join(f"{line}\r\n" for line in lines).encode())
    if suffix != ".csv":
        compress(tmp_path, role, suffix)
    assert read(tmp_path, role).equals(expected)


@pytest.mark.parametrize("role", READ_TABLES)
@pytest.mark.parametrize("place", [0, -1])
def test_a_column_that_is_missing_or_twice_there_is_named(tmp_path, role, place):
    write_log(tmp_path)
    file = tmp_path / f"{OUTBRAIN.table(role).stem}.csv"
    names = headers(role)
    for wrong, what in (([*names, names[place]], "repeats"), ([n for n in names if n != names[place]], "lacks")):
        write_bytes(file, ",".join(wrong).encode() + b"\n")
        with pytest.raises(InputDataError, match=rf"{file.name} line 1: the header {what} column '{names[place]}'\. Received: "):
            find_sources(str(tmp_path), OUTBRAIN)


def test_a_table_without_its_header_is_refused_and_its_first_row_shown(tmp_path):
    write_log(tmp_path)
    (tmp_path / "events.csv").write_text("1,u,2,61,3,US\n")
    with pytest.raises(InputDataError, match=r"events.csv line 1: the header lacks column 'display_id'\. Received: 1,u,2,61,3,US"):
        find_sources(str(tmp_path), OUTBRAIN)
