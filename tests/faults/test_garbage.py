"""Bytes that are no CSV: never a crash, and every line of the file ends up as a row or as a reject."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InputDataError
from schemas.tables import OUTBRAIN
from tests.faults.damage import rows_of
from transforms.blocks import cut
from transforms.parse import LINE, parse
from transforms.sources import File, Source

ASPECT_TABLES = ("documents_topics", "documents_entities", "documents_categories")
EVENTS = OUTBRAIN.table("events")
HEADER = tuple(column.name for column in EVENTS.columns)
_NASTY = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b",", b'"', b"\0", b"\xff", b"\\N", b"\xe2\x80\xa8", b"=1+1", b"-", b"1e9", b"\x1a", b" "]
)
_GARBAGE = st.one_of(st.binary(max_size=80), st.lists(_NASTY, max_size=30).map(b"".join))


def good_line(i: int) -> bytes:
    return b"%d,u%d,7,%d,%d,US>CA\n" % (i, i, 1000 + i, 1 + i % 3)


def check_parsed(data: bytes, untouched: set[int]) -> None:
    """Checks that every line is a row or a reject and that the `untouched` lines are rows, with the values they had."""
    rows, rejects = parse(data, EVENTS, HEADER, 2, "events.csv")
    lines = data.count(b"\n") + (not data.endswith(b"\n")) if data else 0
    assert sorted(rows[LINE].to_pylist() + [reject.line for reject in rejects]) == list(range(2, 2 + lines))
    by_line = dict(zip(rows[LINE].to_pylist(), rows["display_id"].to_pylist(), strict=True))
    original = data.split(b"\n")
    for line in untouched:
        assert by_line[line] == int(original[line - 2].split(b",")[0])
    for reject in rejects:
        assert reject.reason
        assert "\n" not in reject.reason
        assert len(reject.text) <= 4 * 120


@settings(deadline=None, max_examples=300)
@given(garbage=_GARBAGE, count=st.integers(0, 12), where=st.floats(0, 1))
def test_random_bytes_anywhere_neither_lose_nor_multiply_rows(garbage, count, where):
    text = b"".join(good_line(i) for i in range(count))
    at = int(len(text) * where)
    data = text[:at] + garbage + text[at:]
    before, after = text[:at].count(b"\n"), text[at:].count(b"\n")
    total = data.count(b"\n")
    untouched = set(range(2, 2 + before)) | {1 + total - i for i in range(after - 1)}
    check_parsed(data, untouched)


@settings(deadline=None, max_examples=200)
@given(garbage=_GARBAGE, count=st.integers(0, 12), where=st.floats(0, 1), role=st.sampled_from(["page_views", *ASPECT_TABLES]))
def test_random_bytes_in_any_table_leave_each_line_a_row_or_a_reject(garbage, count, where, role):
    table = OUTBRAIN.table(role)
    text = b"".join(b",".join(str(cell).encode() for cell in row) + b"\n" for row in rows_of(role)[:count])
    at = int(len(text) * where)
    data = text[:at] + garbage + text[at:]
    rows, rejects = parse(data, table, tuple(column.name for column in table.columns), 2, "t.csv")
    lines = data.count(b"\n") + (not data.endswith(b"\n")) if data else 0
    assert sorted(rows[LINE].to_pylist() + [reject.line for reject in rejects]) == list(range(2, 2 + lines))
    if "confidence_level" in rows.column_names:
        assert all(0 < confidence <= 1 for confidence in rows["confidence_level"].to_pylist())


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=600))
def test_nothing_but_random_bytes_is_rejects(data):
    check_parsed(data, set())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"5,u,7,1,1," + b"x" * 10_000_000 + b",\n", "expected 6 columns, found 7"),
        (b"9" * 10_000_000 + b",u,7,1,1,US\n", "display_id is not of type int32"),
        (b"5\0,u,7,1,1,US\n", "display_id is not of type int32"),
        (b"\0\0\0\0\n", "expected 6 columns, found 1"),
    ],
    ids=["10MB-text", "10MB-number", "nul-in-number", "nuls"],
)
def test_a_huge_or_binary_line_is_one_reject(line, reason):
    rows, rejects = parse(good_line(1) + line + good_line(2), EVENTS, HEADER, 2, "events.csv")
    assert rows["display_id"].to_pylist() == [1, 2]
    assert [reject.line for reject in rejects] == [3]
    assert rejects[0].reason.startswith(reason)
    assert len(rejects[0].reason) < 300
    assert len(rejects[0].text) <= 4 * 120


def test_a_quoted_newline_is_two_bad_lines_for_the_log_has_no_quoting():
    rows, rejects = parse(good_line(1) + b'5,u,7,1,1,"US\nCA"\n' + good_line(2), EVENTS, HEADER, 2, "events.csv")
    assert rows["display_id"].to_pylist() == [1, 5, 2]  # the first half is a whole row, its cell merely begins with a quote
    assert [(reject.line, reject.reason) for reject in rejects] == [(4, "expected 6 columns, found 1")]


def test_a_line_longer_than_a_block_stays_whole(tmp_path):
    file = tmp_path / "events.csv"
    file.write_bytes(",".join(HEADER).encode() + b"\n" + good_line(1) + b"5," + b"x" * 1_000_000 + b"\n" + good_line(2))
    source = Source(EVENTS, (File(0, str(file), file.name, file.stat().st_size, HEADER),))
    lines = [line for block in cut(source, 1000) for line in block.read().splitlines()]
    assert [len(line) for line in lines] == [len(good_line(1)) - 1, 1_000_002, len(good_line(2)) - 1]


def test_a_column_of_the_wrong_type_throughout_names_file_and_line():
    data = b"".join(good_line(i).replace(b",7,", b",seven,") for i in range(5000))
    with pytest.raises(
        InputDataError, match=r"^events\.csv line 2: document_id is not of type int32: 'seven'; and \d+ more bad rows close by$"
    ):
        parse(data, EVENTS, HEADER, 2, "events.csv")
