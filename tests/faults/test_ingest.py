"""ClickExampleGen over damaged tables: the executor as TFX calls it, all but the launcher around it."""

import csv
import json
import re

import pytest

from schemas.errors import InputDataError, recover
from tests.faults.damage import DISPLAYS, DOCUMENTS, READ_TABLES, compress, cut, flip, rows_of, write_big_log
from tests.tables import DAY, write_table

CONFIG = {"ingest": {}, "split": {"eval_days": [11, 12]}, "features": {}}


@pytest.fixture
def log(tmp_path):
    return write_big_log(tmp_path / "log")


def ingest(log, tmp_path, max_bad_fraction=1e-4):
    """Runs the executor; returns its counts, its rejects by table, and the number of examples it wrote."""
    import tensorflow as tf
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.artifacts import IngestReport
    from components.click_example_gen.executor import Executor

    examples, report = standard_artifacts.Examples(), IngestReport()
    examples.uri, report.uri = str(tmp_path / "examples"), str(tmp_path / "report")
    (tmp_path / "examples").mkdir()
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"],
        tmp_dir=str(tmp_path / "tmp"),
        unique_id="1",
    )
    config = {**CONFIG, "ingest": {"max_bad_fraction": max_bad_fraction}}
    Executor(context).Do(
        {},
        {"examples": [examples], "ingest_report": [report]},
        {"data": str(log), "config": json.dumps(config), "rejects_dir": str(tmp_path / "rejects")},
    )
    with (tmp_path / "report" / "rejects.csv").open(newline="") as file:
        rejects = [(row["table"], int(row["line"]), row["reason"]) for row in csv.DictReader(file)]
    files = [str(f) for f in (tmp_path / "examples").rglob("*.gz")]
    written = sum(1 for _ in tf.data.TFRecordDataset(files, compression_type="GZIP"))
    return json.loads((tmp_path / "report" / "counts.json").read_text()), rejects, written


def check_nothing_written(tmp_path):
    assert list((tmp_path / "examples").iterdir()) == []


DAMAGES = {
    "gz-cut": (".csv.gz", lambda file: cut(file, 0.6)),
    "zip-middle": (".csv.zip", lambda file: flip(file, file.stat().st_size // 2)),
    "gz-last-bytes-cut": (".csv.gz", lambda file: cut(file, 0.9999)),
    "gz-crc": (".csv.gz", lambda file: flip(file, -6)),
}


@pytest.mark.parametrize(
    ("role", "name"),
    [
        *((role, name) for role in READ_TABLES for name in ("gz-cut", "zip-middle")),
        ("events", "gz-last-bytes-cut"),
        *((role, "gz-crc") for role in ("clicks_train", "documents_meta", "documents_entities")),
    ],
)
def test_a_file_damaged_behind_its_header_stops_the_work_with_its_name_and_a_byte(log, tmp_path, role, name):
    suffix, damage = DAMAGES[name]
    file = compress(log, role, suffix)
    damage(file)
    with pytest.raises(Exception, match=re.escape(file.name)) as caught:
        ingest(log, tmp_path)
    known = recover(caught.value)
    assert isinstance(known, InputDataError)
    assert re.search(re.escape(str(file)) + r": damaged or cut short near byte \d+: ", str(known))
    check_nothing_written(tmp_path)


def test_an_undamaged_log_gives_every_row_and_no_reject(log, tmp_path):
    counts, rejects, written = ingest(log, tmp_path)
    assert rejects == []
    neither = counts["examples/neither"]
    assert written == 3 * DISPLAYS - neither
    assert {name: counts[f"rows/{name}"] for name in READ_TABLES} == {name: len(rows_of(name)) for name in READ_TABLES}


def test_few_bad_rows_of_every_kind_are_rejected_and_the_rest_is_intact(log, tmp_path):
    clicks = rows_of("clicks_train")
    clicks[1] = (0, 1, 1)  # display 0: two clicks
    clicks[3:6] = [(1, ad, 0) for ad in range(3)]  # display 1: no click
    clicks.append(clicks[-1])  # the last row twice
    clicks.append((DISPLAYS + 5, 1, 1))  # no event
    write_table(log, "clicks_train", clicks)
    events = rows_of("events")
    events[2] = (2, "u", 1, 15 * DAY, 1, "US")  # behind the log's end
    events.append((3, "other", 1, 5, 1, "US"))  # a second event of display 3
    write_table(log, "events", events)
    write_table(log, "promoted_content", [*rows_of("promoted_content"), (0, 1, 1, 1)])
    write_table(log, "documents_meta", [*rows_of("documents_meta"), (0, 1, 1, None), ("=1+1", 1, 1, None)])

    counts, rejects, written = ingest(log, tmp_path, max_bad_fraction=0.5)

    last = 3 * DISPLAYS + 1
    assert rejects == [
        *(("clicks_train", line, "display_id 0 has 2 clicks, not one") for line in (2, 3, 4)),
        *(("clicks_train", line, "display_id 1 has 0 clicks, not one") for line in (5, 6, 7)),
        *(("clicks_train", line, "display_id 2 has no event") for line in (8, 9, 10)),
        ("clicks_train", last + 1, f"repeats display_id {DISPLAYS - 1} ad_id 2"),
        ("clicks_train", last + 2, f"display_id {DISPLAYS + 5} has no event"),
        ("documents_meta", 4002, "repeats document_id 0"),
        ("documents_meta", 4003, "document_id is not of type int32: '=1+1'"),
        ("events", 4, f"timestamp {15 * DAY} is outside [0, {15 * DAY - 1}]"),
        ("events", DISPLAYS + 2, "repeats display_id 3"),
        ("promoted_content", 4002, "repeats ad_id 0"),
    ]
    assert counts["bad/clicks_train"] == 11
    assert written == 3 * (DISPLAYS - 3) - counts["examples/neither"]


def test_bad_rows_of_page_views_and_of_what_documents_are_about_are_rejected_and_the_rest_is_intact(log, tmp_path):
    topic, entity = (rows_of(role)[7][1] for role in ("documents_topics", "documents_entities"))
    strays = {
        "page_views": [
            (("u", 1, 0, 1, "US"), "expected 6 columns, found 5"),
            (("u", 1, 0, 1, "US", 1, 1), "expected 6 columns, found 7"),
            (("", 1, 0, 1, "US", 1), "uuid is empty"),
            (("u", 1, -1, 1, "US", 1), f"timestamp -1 is outside [0, {15 * DAY - 1}]"),
            (("u", 1, 2**63, 1, "US", 1), f"timestamp is not of type int64: '{2**63}'"),
            (("u", 1, 0, 1, "US", 4), "traffic_source 4 is outside [1, 3]"),
        ],
        "documents_topics": [
            ((7, topic, 0.5), f"repeats document_id 7 topic_id {topic}"),
            ((0, 5, 0), "confidence_level 0.0 is outside [1e-09, 1]"),
            ((0, 5, "nan"), "confidence_level nan is outside [1e-09, 1]"),
            ((0, 5, "-inf"), "confidence_level -inf is outside [1e-09, 1]"),
        ],
        "documents_entities": [
            ((7, entity, 0.5), f"repeats document_id 7 entity_id {entity}"),
            ((0, None, 0.5), "entity_id is empty"),
            ((0, "e", "much"), "confidence_level is not of type float32: 'much'"),
        ],
        "documents_categories": [
            ((0, "a", 0.5), "category_id is not of type int32: 'a'"),
            ((-1, 5, 0.5), "document_id -1 is below 0"),
            ((0, 5), "expected 3 columns, found 2"),
        ],
    }
    for role, rows in strays.items():
        write_table(log, role, [*rows_of(role), *(row for row, _ in rows)])
    counts, rejects, written = ingest(log, tmp_path, max_bad_fraction=0.01)
    assert rejects == [(role, DOCUMENTS + 2 + i, reason) for role in sorted(strays) for i, (_, reason) in enumerate(strays[role])]
    assert {role: counts[f"bad/{role}"] for role in strays} == {role: len(rows) for role, rows in strays.items()}
    assert written == 3 * DISPLAYS - counts["examples/neither"]


@pytest.mark.parametrize("ads", [1, 500])
def test_a_display_with_one_ad_or_500_is_kept_whole(log, tmp_path, ads):
    write_table(log, "clicks_train", [*((0, ad, int(ad == 0)) for ad in range(ads)), *rows_of("clicks_train")[3:]])
    counts, rejects, written = ingest(log, tmp_path)
    assert rejects == []
    assert written == ads + 3 * (DISPLAYS - 1) - counts["examples/neither"]


def test_more_bad_rows_than_allowed_stop_the_work_and_the_rejects_are_kept(log, tmp_path):
    write_table(log, "clicks_train", [(display, ad, 0) for display, ad, _ in rows_of("clicks_train")])
    with pytest.raises(
        InputDataError,
        match=r"clicks_train: 2400 of 2400 rows are bad .* the first is clicks_train.csv line 2: display_id 0 has 0 clicks",
    ):
        ingest(log, tmp_path)
    check_nothing_written(tmp_path)
    (kept,) = (tmp_path / "rejects").iterdir()
    assert len(kept.read_text().splitlines()) == 2401


def test_ads_of_another_log_stop_the_work(log, tmp_path):
    write_table(log, "promoted_content", rows_of("promoted_content")[1:])
    with pytest.raises(InputDataError, match=rf"promoted_content: lacks the ads of {DISPLAYS} of {3 * DISPLAYS} rows \(33.33%; "):
        ingest(log, tmp_path)
    check_nothing_written(tmp_path)


def test_documents_without_rows_are_documents_not_known(log, tmp_path):
    write_table(log, "documents_meta", [])
    _, rejects, written = ingest(log, tmp_path)
    assert rejects == []
    assert written
