"""The Beam pipeline as a whole: golden rows, a brute-force twin, and what must not change its output."""

import itertools
import json
import random

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.synth import generate
from schemas.beam import LOCAL_BEAM_RUNNER
from schemas.config import FeaturesConfig, IngestConfig, SplitConfig
from schemas.features import CTR_GROUPS
from schemas.tables import OUTBRAIN
from tests.tables import DAY, read_rows, write_log, write_table
from transforms.base_rows import SPLIT
from transforms.compute_features import ComputeFeatures, write_ingest_report
from transforms.dimensions import load, save
from transforms.feature_job import plan
from transforms.partition import receive
from transforms.split import EVAL, NEITHER, TEST, TRAIN


def _save_rows(element, folder):
    save(receive(element[1]), f"{folder}/rows-{element[0]:03d}.arrow")


def compute(data, work, split=None, features=None, with_test=False, block_bytes=1 << 20, partitions=None, columns=None):
    """Returns (rows by display_id and ad_id, rejects, counts)."""
    work.mkdir()
    ingest = IngestConfig(block_bytes=block_bytes)
    features = features or FeaturesConfig()
    job, rejects, counts = plan(str(data), str(work), OUTBRAIN, ingest, features, split, with_test=with_test, columns=columns)
    if partitions:
        job = job.__class__(**{**job.__dict__, "partitions": partitions})
    with beam.Pipeline(runner=LOCAL_BEAM_RUNNER) as pipeline:
        out = pipeline | ComputeFeatures(job)
        _ = out["rows"] | beam.Map(_save_rows, str(work))
        write_ingest_report(out, job, rejects, counts, str(work))
    parts = [load(str(file)) for file in sorted(work.glob("rows-*.arrow"))]
    rows = pa.concat_tables(parts).sort_by([("display_id", "ascending"), ("ad_id", "ascending")])
    return rows, (work / "rejects.csv").read_text().splitlines()[1:], json.loads((work / "counts.json").read_text())


def random_log(folder, displays, seed, days=13):
    """Few ads, documents and moments, so that groups are large and moments coincide."""
    rng = random.Random(seed)
    clicks, events = [], []
    for display in range(1, displays + 1):
        ads = rng.sample(range(100, 112), rng.randint(2, 5))
        clicked = rng.choice(ads)
        clicks += [(display, ad, int(ad == clicked)) for ad in ads]
        events.append(
            (
                display,
                f"{rng.randrange(50):014x}",
                rng.randrange(5),
                rng.randrange(days) * DAY + rng.randrange(40),
                rng.choice([1, 2, 3, None]),
                "US>TX",
            )
        )
    rng.shuffle(clicks)
    rng.shuffle(events)
    write_table(folder, "clicks_train", clicks)
    write_table(folder, "events", events)
    write_table(
        folder, "promoted_content", [(ad, 200 + ad % 4, 300 + ad % 3, 400 + ad % 2) for ad in range(100, 111)]
    )  # 111 is unknown
    write_table(
        folder, "documents_meta", [(d, d % 3 or None, d % 2 or None, "2016-05-01 00:00:00") for d in [*range(4), *range(200, 203)]]
    )
    return folder


def test_golden_rows(tmp_path):
    rows, rejects, counts = compute(write_log(tmp_path / "log"), tmp_path / "work", SplitConfig())
    assert rejects == []
    assert counts["displays/train"] == 2
    assert counts["displays/eval"] == 1
    assert counts["examples/train"] == 4
    assert rows[SPLIT].to_pylist() == [TRAIN] * 4 + [EVAL] * 3
    first, *_, last = rows.to_pylist()
    assert {name: value for name, value in first.items() if value is not None} == {
        "display_id": 1,
        "uuid": "cb8c55702adb93",
        "timestamp": 1000,
        "ads_per_display": 2,
        "popularity": 0.5,  # the prior: one of two ads
        "label": 1,
        "doc_event_id": 100,
        "doc_event_source_id": 1,
        "doc_event_publisher_id": 50,
        "event_country": "US",
        "event_country_state": "US>CA",
        "event_geo_location": "US>CA>803",
        "event_platform": 0,
        "doc_event_hour": 4,
        "event_hour": 4,  # 2016-06-14 04:00:00.998 UTC is 21:00 the day before in California
        "event_weekend": 0,
        "doc_event_days_since_published": 13,
        "ad_id": 10,
        "doc_id": 200,
        "ad_campaign": 5,
        "ad_advertiser": 7,
        "doc_ad_source_id": 3,
        "doc_ad_publisher_id": 51,
        "doc_ad_days_since_published": 366,  # a leap year
        SPLIT: TRAIN,
    }
    assert last["ad_id"] == 12
    assert last["event_country"] is None
    assert last["event_hour"] is None
    assert last["popularity"] == pytest.approx((1 + 10 / 3) / 11)  # one view, one click before; prior 1/3 worth ten views


def test_absent_documents_give_missing_features_and_one_warning(tmp_path, caplog):
    rows, _, _ = compute(write_log(tmp_path / "log", documents=False), tmp_path / "work", SplitConfig())
    assert rows["doc_ad_source_id"].null_count == rows.num_rows
    assert [r.message for r in caplog.records if "documents_meta is absent: its" in r.message] != []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ctr_features_equal_brute_force(tmp_path, seed):
    features = FeaturesConfig(delay_ms=7, popularity_prior_views=3, ctr_prior_views=seed - 1)
    rows, _, _ = compute(random_log(tmp_path / "log", 120, seed), tmp_path / "work", SplitConfig(), features, partitions=3)
    rows = rows.to_pylist()
    train = [r for r in rows if r[SPLIT] == TRAIN]
    seen = 0
    for group in CTR_GROUPS:
        if len(group.key) != 1 or group.aspect:
            continue  # tests/transforms/test_twin.py has them all
        (key,) = group.key
        for row in rows:
            before = [
                r
                for r in train
                if row[key] is not None and r[key] == row[key] and r["timestamp"] < row["timestamp"] - features.delay_ms
            ]
            clicks, views = sum(r["label"] for r in before), len(before)
            prior = features.ctr_prior_views
            expected = (clicks + prior / row["ads_per_display"]) / (views + prior) if views > group.min_views else None
            assert row[group.feature] == (None if expected is None else pytest.approx(expected))
            if group.views_feature:
                assert row[group.views_feature] == (None if expected is None else views)
            if key == "ad_id":
                assert row["popularity"] == pytest.approx((clicks + 3 / row["ads_per_display"]) / (views + 3))
            seen += expected is not None
    assert seen > 500


def test_the_output_depends_on_neither_partitions_nor_blocks_nor_row_order_nor_compression(tmp_path):
    reference, _, _ = compute(random_log(tmp_path / "log", 60, 5), tmp_path / "w0", SplitConfig())
    for i, (partitions, block_bytes) in enumerate([(1, 64), (4, 1 << 20), (13, 200)]):
        again, _, _ = compute(
            tmp_path / "log", tmp_path / f"w{i + 1}", SplitConfig(), partitions=partitions, block_bytes=block_bytes
        )
        assert again.equals(reference)
    for role in ("clicks_train", "events"):
        lines = (tmp_path / "log" / f"{role}.csv").read_text().splitlines()
        (tmp_path / "log" / f"{role}.csv").unlink()
        write_table(tmp_path / "log", role, [line.split(",") for line in sorted(lines[1:], reverse=True)], ".csv.gz")
    again, _, _ = compute(tmp_path / "log", tmp_path / "w9", SplitConfig())
    assert again.equals(reference)


def test_eval_labels_change_no_byte_of_any_row(tmp_path):
    log, split = tmp_path / "log", SplitConfig(eval_days=(5, 10))
    generate(log, displays=150, users=60, documents=80, ads=40, page_views=1500, seed=6)
    reference, _, _ = compute(log, tmp_path / "w0", split)
    held_out = {str(row["display_id"]) for row in reference.to_pylist() if row[SPLIT] == EVAL}
    clicks = []
    for display, rows in itertools.groupby(read_rows(log, "clicks_train"), lambda row: row[0]):
        *ads, labels = zip(*rows, strict=True)
        clicks += zip(*ads, labels[1:] + labels[:1] if display in held_out else labels, strict=True)
    write_table(log, "clicks_train", clicks)
    again, _, _ = compute(log, tmp_path / "w1", split)
    changed = pc.not_equal(again["label"], reference["label"]).to_numpy()
    assert set(again["display_id"].to_numpy()[changed].astype(str)) == held_out
    for name, rows in (("again", again), ("reference", reference)):
        save(rows.drop_columns(["label"]).combine_chunks(), str(tmp_path / name))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "reference").read_bytes()


def test_days_after_the_eval_days_are_in_neither_split_and_are_no_history(tmp_path):
    rows, _, counts = compute(random_log(tmp_path / "log", 200, 7, days=15), tmp_path / "work", SplitConfig())
    assert counts["displays/neither"] > 0
    assert set(rows[SPLIT].to_pylist()) == {TRAIN, EVAL, NEITHER}


def test_test_displays_see_all_labelled_clicks_before_them(tmp_path):
    log = random_log(tmp_path / "log", 100, 8)
    write_table(log, "clicks_test", [(1000, 100), (1000, 101)])
    with (log / "events.csv").open("a") as file:
        file.write(f"1000,u,1,{14 * DAY},1,US\n")
    rows, _, _ = compute(log, tmp_path / "work", None, with_test=True)
    labelled = [r for r in rows.to_pylist() if r[SPLIT] == TRAIN]
    (test,) = [r for r in rows.to_pylist() if r[SPLIT] == TEST and r["ad_id"] == 100]
    assert test["label"] is None
    assert test["ad_views"] == sum(r["ad_id"] == 100 for r in labelled)
    assert test["ads_per_display"] == 2


def test_bad_rows_are_rejected_and_counted_and_good_ones_kept(tmp_path):
    log = write_log(tmp_path / "log")
    with (log / "clicks_train.csv").open("a") as file:
        file.write("nonsense\n9,10,1\n=cmd,1,1\n")
    write_table(log, "promoted_content", [(10, 200, 5, 7), (10, 1, 1, 1), (11, 201, 5, -7)])
    rows, rejects, counts = compute(log, tmp_path / "work", SplitConfig())
    assert rows.num_rows == 7
    assert counts["rows/clicks_train"] == 10
    assert counts["bad/clicks_train"] == 3
    assert counts["join_miss/promoted_content"] == 4  # ads 11 and 12, two displays each
    assert rejects == [
        'clicks_train,clicks_train.csv,9,"expected 3 columns, found 1",nonsense',
        "clicks_train,clicks_train.csv,10,display_id 9 has no event,",
        "clicks_train,clicks_train.csv,11,display_id is not of type int32: '=cmd',\"'=cmd,1,1\"",
        "promoted_content,promoted_content.csv,3,repeats ad_id 10,",
        "promoted_content,promoted_content.csv,4,advertiser_id -7 is below 0,",
    ]
