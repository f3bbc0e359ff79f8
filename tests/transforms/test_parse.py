import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputDataError
from schemas.tables import OUTBRAIN
from tests.tables import write_bytes, write_table
from transforms.blocks import cut, parse_block
from transforms.parse import LINE, parse
from transforms.sources import find_sources

EVENTS = OUTBRAIN.table("events")
HEADER = tuple(c.name for c in EVENTS.columns)
GOOD = b"1,cb8c55702adb93,379743,61,3,US>SC>519\n"


def parse_events(data: bytes, header=HEADER, first_line=2):
    return parse(data, EVENTS, header, first_line, "events.csv")


def test_a_good_row_has_its_types_and_line():
    rows, rejects = parse_events(GOOD)
    assert rejects == []
    assert rows.to_pylist() == [
        {
            "display_id": 1,
            "uuid": "cb8c55702adb93",
            "document_id": 379743,
            "timestamp": 61,
            "platform": 3,
            "geo_location": "US>SC>519",
            LINE: 2,
        }
    ]


@pytest.mark.parametrize("null", [b"", b"\\N"])
def test_empty_and_backslash_n_are_missing(null):
    rows, rejects = parse_events(b"1,u,2,61," + null + b"," + null + b"\n")
    assert rejects == []
    assert rows["platform"].to_pylist() == [None]
    assert rows["geo_location"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,u,2,61,3\n", "expected 6 columns, found 5"),
        (b"1,u,2,61,3,US,more\n", "expected 6 columns, found 7"),
        (b"x,u,2,61,3,US\n", "display_id is not of type int32: 'x'"),
        (b"1.5,u,2,61,3,US\n", "display_id is not of type int32: '1.5'"),
        (b"99999999999,u,2,61,3,US\n", "display_id is not of type int32: '99999999999'"),
        (b"-1,u,2,61,3,US\n", "display_id -1 is below 0"),
        (b",u,2,61,3,US\n", "display_id is empty"),
        (b"1,,2,61,3,US\n", "uuid is empty"),
        (b"1,u,2,1296000000,3,US\n", "timestamp 1296000000 is outside [0, 1295999999]"),
        (b"1,u,2,-5,3,US\n", "timestamp -5 is outside [0, 1295999999]"),
        (b"1,u,2,61,4,US\n", "platform 4 is outside [1, 3]"),
        (b"1,u,2,61,3,\xff\xfe\n", "geo_location is not of type string: '\\\\xff\\\\xfe'"),
        (b"\n", "display_id is empty"),
        (b"1,u,2,61,3,U\rS\n", "stray carriage return"),
    ],
)
def test_a_bad_row_between_good_ones_is_rejected_with_line_and_reason(line, reason):
    rows, rejects = parse_events(GOOD * 3 + line + GOOD * 2, first_line=100)
    assert rows[LINE].to_pylist() == [100, 101, 102, 104, 105]
    assert [(r.table, r.line, r.reason) for r in rejects] == [("events", 103, reason)]


def test_a_confidence_that_is_no_number_is_outside_its_range():
    topics = OUTBRAIN.table("documents_topics")
    header = tuple(c.name for c in topics.columns)
    rows, rejects = parse(b"1,2,0.5\n1,3,nan\n1,4,inf\n1,5,1.5\n", topics, header, 2, "t.csv")
    assert rows["topic_id"].to_pylist() == [2]
    assert [r.line for r in rejects] == [3, 4, 5]


def test_crlf_and_a_last_line_without_end_are_fine():
    rows, rejects = parse_events(GOOD.replace(b"\n", b"\r\n") + GOOD.rstrip())
    assert rejects == []
    assert rows["geo_location"].to_pylist() == ["US>SC>519"] * 2


def test_reordered_and_further_columns_are_read_by_name():
    rows, _ = parse_events(
        b"US,x,1,u,2,61,3\n", header=("geo_location", "", "display_id", "uuid", "document_id", "timestamp", "platform")
    )
    assert rows["geo_location"].to_pylist() == ["US"]
    assert rows.column_names == [*HEADER, LINE]


def test_a_file_of_the_wrong_kind_is_given_up_at_once():
    with pytest.raises(
        InputDataError, match=r"events.csv line 2: display_id is not of type int32: 'a'; and \d+ more bad rows close by"
    ):
        parse_events(b"a,u,2,61,3,US\n" * 5000)


def test_far_dates_are_kept():
    meta = OUTBRAIN.table("documents_meta")
    rows, rejects = parse(
        b"1,2,3,0001-01-01 00:00:00\n2,,,2033-05-01 12:00:00\n", meta, tuple(c.name for c in meta.columns), 2, "m"
    )
    assert rejects == []
    assert [t.year for t in rows["publish_time"].to_pylist()] == [1, 2033]


@given(
    rows=st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), st.integers(0, 1)), min_size=1, max_size=60),
    bad=st.sets(st.integers(0, 59)),
    block_bytes=st.integers(1, 400),
    suffix=st.sampled_from([".csv", ".csv.gz", ".csv.zip"]),
)
def test_blocks_of_any_size_give_every_row_once_with_its_line(tmp_path_factory, rows, bad, block_bytes, suffix):
    folder = tmp_path_factory.mktemp("log")
    lines = [b"junk" if i in bad else b"%d,%d,%d" % row for i, row in enumerate(rows)]
    write_bytes(folder / f"clicks_train{suffix}", b"display_id,ad_id,clicked\n" + b"\n".join(lines) + b"\n")
    for role in ("events", "promoted_content"):
        write_table(folder, role, [[1] * len(OUTBRAIN.table(role).columns)])
    source = find_sources(str(folder), OUTBRAIN)["clicks_train"]
    tables, rejects = [], []
    for block in cut(source, block_bytes):
        table, found = parse_block(block, source.table)
        tables.append(table)
        rejects += found
    parsed = pa.concat_tables(tables)
    good = [(i, row) for i, row in enumerate(rows) if i not in bad]
    assert [tuple(r.values()) for r in parsed.to_pylist()] == [(*row, i + 2) for i, row in good]
    assert sorted(r.line for r in rejects) == sorted(i + 2 for i in bad if i < len(rows))
