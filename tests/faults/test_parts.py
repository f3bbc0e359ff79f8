"""A table in several files: a folder of the table's name in the place of its file, each part with a header of its own."""

import re
import shutil

import pytest

from schemas.config import SplitConfig
from schemas.errors import InputDataError
from schemas.tables import OUTBRAIN
from tests.faults.damage import compress, cut, rows_of, write_big_log
from tests.tables import ADS, CLICKS, DOCUMENTS, EVENTS, write_bytes, write_log, write_part, write_table
from tests.transforms.test_compute_features import compute
from transforms.contents import fingerprint, read_contents
from transforms.sources import find_sources

CSV_NAMES = ".csv or .csv.gz or .csv.zip"


@pytest.fixture
def log(tmp_path):
    """The small log with clicks, events and documents in parts."""
    folder = write_log(tmp_path / "log")
    for role in ("clicks_train", "events", "documents_meta"):
        (folder / f"{role}.csv").unlink()
    write_part(folder, "clicks_train", "a.csv", CLICKS[:3])
    write_part(folder, "clicks_train", "b.csv.gz", CLICKS[3:5], reverse=True)
    write_part(folder, "clicks_train", "day=2/c.csv.zip", CLICKS[5:])
    write_part(folder, "events", "part-1.csv", EVENTS, reverse=True)
    write_part(folder, "events", "part-0.csv", [])
    write_part(folder, "documents_meta", "1.csv", DOCUMENTS[:1])
    write_part(folder, "documents_meta", "2.csv", DOCUMENTS[1:], reverse=True)
    for spark in ("_SUCCESS", ".a.csv.crc", "_temporary/0/x.csv"):
        write_bytes(folder / "clicks_train" / spark, b"")
    return folder


def test_parts_are_read_as_one_table_whatever_the_order_of_their_columns(log, tmp_path):
    whole, _, _ = compute(write_log(tmp_path / "whole"), tmp_path / "w0", SplitConfig())
    parts, rejects, counts = compute(log, tmp_path / "w1", SplitConfig())
    assert parts.equals(whole)
    assert rejects == []
    assert {role: counts[f"rows/{role}"] for role in ("clicks_train", "events")} == {"clicks_train": 7, "events": 3}
    assert [file.name for file in find_sources(str(log), OUTBRAIN)["clicks_train"].files] == [
        "clicks_train/a.csv",
        "clicks_train/b.csv.gz",
        "clicks_train/day=2/c.csv.zip",
    ]


def test_a_bad_row_is_named_by_its_file_and_line(log, tmp_path):
    write_part(log, "clicks_train", "b.csv.gz", [*CLICKS[3:5], ("x", 1, 1), (9, 1, 1)])
    write_part(log, "documents_meta", "2.csv", [*DOCUMENTS[1:], (7,), DOCUMENTS[0]])
    _, rejects, _ = compute(log, tmp_path / "work", SplitConfig())
    assert rejects == [
        "clicks_train,clicks_train/b.csv.gz,4,display_id is not of type int32: 'x',\"x,1,1\"",
        "clicks_train,clicks_train/b.csv.gz,5,display_id 9 has no event,",
        'documents_meta,documents_meta/2.csv,5,"expected 4 columns, found 1",7',
        "documents_meta,documents_meta/2.csv,6,repeats document_id 100,",
    ]


def test_of_rows_that_two_files_have_those_of_the_first_by_name_stay(log, tmp_path):
    whole, _, _ = compute(log, tmp_path / "w0", SplitConfig())
    write_part(log, "clicks_train", "aa.csv", [(d, ad, 1 - clicked) for d, ad, clicked in CLICKS[:3]])
    write_part(log, "events", "part-2.csv", [(1, "other", 1, 5, 1, "US")])
    rows, rejects, counts = compute(log, tmp_path / "w1", SplitConfig())
    assert rows.equals(whole)
    assert rejects == [
        "clicks_train,clicks_train/aa.csv,2,repeats display_id 1 ad_id 10,",
        "clicks_train,clicks_train/aa.csv,3,repeats display_id 1 ad_id 11,",
        "clicks_train,clicks_train/aa.csv,4,repeats display_id 2 ad_id 10,",
        "events,events/part-2.csv,2,repeats display_id 1,",
    ]
    assert (counts["rows/clicks_train"], counts["bad/clicks_train"]) == (10, 3)


def _headers_only(log):
    shutil.rmtree(log / "events")
    for part in ("a.csv", "b.csv"):
        write_part(log, "events", part, [])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: write_table(d, "events", EVENTS), "table events is there 2 times: events.csv, events/; keep one"),
        (
            lambda d: (d / "page_views").mkdir(),
            f"page_views: the folder of table page_views holds no file that ends in {CSV_NAMES}",
        ),
        (lambda d: write_bytes(d / "page_views/_SUCCESS", b""), "page_views: the folder of table page_views holds no file that"),
        (
            lambda d: write_bytes(d / "events/part-2.parquet", b"PAR1"),
            f"events: all files of table events must end in {CSV_NAMES}. Received: part-2.parquet",
        ),
        (lambda d: write_bytes(d / "events/part-2.csv", b""), "events/part-2.csv: the file is empty; expected a header line"),
        (
            lambda d: write_bytes(d / "events/part-2.csv", b"display_id,uuid\n"),
            "events/part-2.csv line 1: the header lacks column 'document_id'",
        ),
        (_headers_only, "log/events: its files have a header but no row; table events is required"),
    ],
    ids=["file-and-folder", "empty-folder", "hidden-only", "other-kind", "zero-bytes", "no-column", "no-row"],
)
def test_an_unusable_folder_of_parts_is_refused_before_any_work(log, damage, message):
    damage(log)
    with pytest.raises(InputDataError, match=re.escape(message)):
        find_sources(str(log), OUTBRAIN)


def test_a_folder_with_nothing_but_tables_in_folders_is_a_log(tmp_path):
    for role, rows in (("clicks_train", CLICKS), ("events", EVENTS), ("promoted_content", ADS)):
        write_part(tmp_path, role, "0.csv", rows)
    assert set(find_sources(f"{tmp_path}/", OUTBRAIN)) == {"clicks_train", "events", "promoted_content"}


def test_the_second_part_cut_short_is_named(tmp_path):
    log = write_big_log(tmp_path / "log")
    whole = compress(log, "page_views", ".csv.gz")
    (log / "page_views").mkdir()
    damaged = whole.rename(log / "page_views/2.csv.gz")
    write_part(log, "page_views", "1.csv", rows_of("page_views")[:9])
    cut(damaged, 0.6)
    with pytest.raises(Exception, match=re.escape(f"{damaged}: damaged or cut short near byte ")):
        compute(log, tmp_path / "work", SplitConfig())


def test_the_fingerprint_covers_every_part(log):
    def now():
        return fingerprint(read_contents(find_sources(str(log), OUTBRAIN)))

    seen = [now()]
    write_part(log, "clicks_train", "day=2/c.csv.zip", CLICKS[5:6])
    seen.append(now())
    (log / "clicks_train/a.csv").rename(log / "clicks_train/d.csv")
    seen.append(now())
    write_part(log, "events", "part-3.csv", [])
    seen.append(now())
    assert len(set(seen)) == 4
    assert now() == seen[-1]
