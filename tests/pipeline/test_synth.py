"""The synthetic log: format to the letter, planted traps, exact MAP, safe writing."""

import fcntl
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.synth import clicks, displays, generate, marginals, write
from pipeline.synth.displays import Displays
from schemas.errors import ConfigError
from schemas.tables import DAY_MS, OUTBRAIN

SIZES = {"displays": 4000, "seed": 3}


def read(folder: Path, role: str) -> pd.DataFrame:
    """A table as text, columns named by role."""
    table = OUTBRAIN.table(role)
    frame = pd.read_csv(folder / f"{table.stem}.csv", dtype=str, keep_default_na=False)
    return frame.rename(columns={column.header: column.name for column in table.columns})


def numbers(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return frame.astype(dict.fromkeys(columns, "int64"))


class Log:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = generate(folder, **SIZES)
        self.train = read(folder, "clicks_train").astype("int64")
        self.test = read(folder, "clicks_test").astype("int64")
        self.events = numbers(read(folder, "events"), "display_id", "document_id", "timestamp")
        self.events["day"] = self.events.timestamp // DAY_MS
        self.views = numbers(read(folder, "page_views"), "document_id", "timestamp", "traffic_source")
        self.promoted = read(folder, "promoted_content").astype("int64")
        self.meta = numbers(read(folder, "documents_meta"), "document_id")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("synth") / "log")


def some_displays(sizes: list[int]) -> Displays:
    n, empty = np.array(sizes), np.zeros(len(sizes), np.int64)
    display = np.repeat(np.arange(len(n)), n)
    return Displays(len(n), empty, empty, empty, empty, empty, n, display, np.arange(len(display)))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


INT, UUID, GEO = r"(?:0|[1-9]\d*)", r"[0-9a-f]{14}", r"(?:|--|[A-Z][A-Z0-9](?:>[A-Z0-9]{2}(?:>\d{3})?)?)"
VISIT = rf"{UUID},{INT},{INT},(?:[123]|\\N),{GEO}"
CONFIDENCE = r"(?:0\.\d{1,15}|1)"
LINES = {
    "clicks_train": ("display_id,ad_id,clicked", rf"{INT},{INT},[01]"),
    "clicks_test": ("display_id,ad_id", rf"{INT},{INT}"),
    "events": ("display_id,uuid,document_id,timestamp,platform,geo_location", rf"{INT},{VISIT}"),
    "page_views": ("uuid,document_id,timestamp,platform,geo_location,traffic_source", rf"{VISIT},[123]"),
    "promoted_content": ("ad_id,document_id,campaign_id,advertiser_id", rf"{INT},{INT},{INT},{INT}"),
    "documents_meta": (
        "document_id,source_id,publisher_id,publish_time",
        rf"{INT},{INT}?,{INT}?,(?:\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d)?",
    ),
    "documents_topics": ("document_id,topic_id,confidence_level", rf"{INT},{INT},{CONFIDENCE}"),
    "documents_entities": ("document_id,entity_id,confidence_level", rf"{INT},[0-9a-f]{{32}},{CONFIDENCE}"),
    "documents_categories": ("document_id,category_id,confidence_level", rf"{INT},\d{{4}},{CONFIDENCE}"),
}


class TestFormat:
    @pytest.mark.parametrize("role", LINES)
    def test_every_line(self, log: Log, role: str) -> None:
        header, line = LINES[role]
        text = (log.folder / f"{OUTBRAIN.table(role).stem}.csv").read_text()
        assert text.endswith("\n")
        first, *rows = text[:-1].split("\n")
        assert first == header
        bad = [row for row in rows if not re.fullmatch(line, row)]
        assert not bad[:3]
        assert len(rows) == log.manifest["counts"][role] > 0

    def test_holds_the_tables_of_the_description_and_the_manifest(self, log: Log) -> None:
        assert set(content(log.folder)) == {f"{table.stem}.csv" for table in OUTBRAIN.tables} | {"synth.json"}
        assert json.loads((log.folder / "synth.json").read_text()) == log.manifest

    def test_displays(self, log: Log) -> None:
        both = pd.concat([log.train, log.test])
        assert both.display_id.is_monotonic_increasing
        assert (log.train.groupby("display_id").clicked.sum() == 1).all()
        step = both.ad_id.diff()[both.display_id == both.display_id.shift()]
        assert (step > 0).all()
        assert both.groupby("display_id").size().between(2, 12).all()
        assert set(both.ad_id) <= set(log.promoted.ad_id)
        labelled = SIZES["displays"]
        assert log.train.display_id.unique().tolist() == list(range(1, labelled + 1))
        assert log.test.display_id.unique().tolist() == list(range(labelled + 1, len(log.events) + 1))
        assert log.events.display_id.tolist() == list(range(1, len(log.events) + 1))

    def test_ids_are_unique(self, log: Log) -> None:
        assert log.promoted.ad_id.is_unique
        assert log.meta.document_id.is_unique
        assert (log.promoted.groupby("campaign_id").advertiser_id.nunique() == 1).all()
        for role, key in (
            ("documents_topics", "topic_id"),
            ("documents_entities", "entity_id"),
            ("documents_categories", "category_id"),
        ):
            aspects = read(log.folder, role)
            assert not aspects.duplicated(["document_id", key]).any()
            assert set(aspects.document_id.astype(int)) <= set(log.meta.document_id)

    def test_time(self, log: Log) -> None:
        labelled = SIZES["displays"]
        train, test = log.events[:labelled], log.events[labelled:]
        assert train.timestamp.is_monotonic_increasing
        assert test.timestamp.is_monotonic_increasing
        assert sorted(train.day.unique()) == list(range(13))
        assert sorted(test.day.unique()) == list(range(15))
        assert len(test) == round(0.37 * labelled)
        early = log.events[log.events.day < 13]
        assert (early.display_id > labelled).mean() == pytest.approx(0.15, abs=0.02)
        for times in (log.events.timestamp, log.views.timestamp):
            assert times.between(0, OUTBRAIN.days * DAY_MS - 1).all()
        assert log.events.timestamp.nunique() > 0.99 * len(log.events)


class TestSeed:
    def test_same_seed_same_bytes(self, log: Log, tmp_path: Path) -> None:
        generate(tmp_path / "again", **SIZES)
        assert content(tmp_path / "again") == content(log.folder)

    def test_parts_have_streams_of_their_own(self, tmp_path: Path) -> None:
        folders = [tmp_path / name for name in ("a", "b", "c")]
        for folder, page_views, seed in zip(folders, (300, 400, 300), (0, 0, 1), strict=True):
            generate(folder, displays=100, page_views=page_views, seed=seed)
        a, b, c = (content(folder) for folder in folders)
        differing = {name for name in a if a[name] != b[name]}
        assert differing == {"page_views.csv", "synth.json"}
        assert all(a[name] != c[name] for name in a)


class TestPlacement:
    def test_does_nothing_for_the_same_parameters(self, tmp_path: Path) -> None:
        first = generate(tmp_path / "log", displays=50)
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "log").iterdir()}
        calls: list[str] = []
        # Open sizes and the same sizes spelled out are the same parameters.
        again = generate(tmp_path / "log", **first["parameters"], progress=lambda stage, share: calls.append(stage))
        assert again == first
        assert calls == []
        assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "log").iterdir()} == before

    def test_refuses_other_parameters(self, tmp_path: Path) -> None:
        generate(tmp_path / "log", displays=50)
        before = content(tmp_path / "log")
        with pytest.raises(ConfigError, match=r"^out must be empty, or hold a log of the same parameters\. Received: .*log$"):
            generate(tmp_path / "log", displays=50, seed=1)
        assert content(tmp_path / "log") == before

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}'])
    def test_refuses_foreign_content(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "synth.json").write_text(text)
        with pytest.raises(ConfigError, match="Received"):
            generate(tmp_path, displays=50)
        assert [path.name for path in tmp_path.iterdir()] == ["synth.json"]

    def test_refuses_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("")
        with pytest.raises(ConfigError, match="must be a folder"):
            generate(tmp_path / "log", displays=50)

    def test_takes_an_empty_folder_and_makes_parents(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "empty")
        generate(tmp_path / "link", displays=50)
        generate(tmp_path / "a" / "b", displays=50)
        assert content(tmp_path / "empty") == content(tmp_path / "a" / "b")

    def test_a_failed_run_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(folder: Path, *args: object) -> None:
            (folder / "half.csv").write_text("half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(write, "write", fail)
        with pytest.raises(OSError, match="No space"):
            generate(tmp_path / "log", displays=50)
        assert list(tmp_path.iterdir()) == []

    def test_sweeps_what_a_killed_run_left_but_not_a_live_one(self, tmp_path: Path) -> None:
        for name in (".log.synth-dead", ".log.synth-live", ".other.synth-dead"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "events.csv").write_text("half")
        live = os.open(tmp_path / ".log.synth-live", os.O_RDONLY)
        fcntl.flock(live, fcntl.LOCK_EX)
        generate(tmp_path / "log", displays=50)
        os.close(live)
        assert sorted(path.name for path in tmp_path.iterdir()) == [".log.synth-live", ".other.synth-dead", "log"]

    def test_a_faster_run_wins(self, tmp_path: Path) -> None:
        raced: list[str] = []

        def race(stage: str, share: float) -> None:
            if stage == "clicks" and not raced:
                raced.append(stage)
                generate(tmp_path / "log", displays=50)

        assert generate(tmp_path / "log", displays=50, progress=race) == generate(tmp_path / "log", displays=50)
        assert [path.name for path in tmp_path.iterdir()] == ["log"]

    def test_progress_ends_at_one(self, tmp_path: Path) -> None:
        shares: list[float] = []
        generate(tmp_path / "log", displays=50, progress=lambda stage, share: shares.append(share))
        assert shares == sorted(shares)
        assert shares[0] > 0
        assert shares[-1] == 1.0


class TestArguments:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("displays", 0),
            ("displays", -5),
            ("displays", 14),
            ("displays", 100.0),
            ("users", 0),
            ("documents", 23),
            ("ads", 11),
            ("page_views", 0),
            ("page_views", 2**31),
            ("seed", -1),
            ("seed", True),
        ],
    )
    def test_bad(self, tmp_path: Path, name: str, value: object) -> None:
        with pytest.raises(ConfigError, match=rf"^{name} must be .*Received: {re.escape(repr(value))}$"):
            generate(tmp_path / "log", **{"displays": 50, name: value})  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []

    def test_smallest(self, tmp_path: Path) -> None:
        manifest = generate(tmp_path / "log", displays=15, users=1, documents=24, ads=12, page_views=1)
        assert manifest["counts"]["events"] == 15 + 6
        assert manifest["counts"]["page_views"] == 1
        assert manifest["counts"]["promoted_content"] == 12
        assert [day["day"] for day in manifest["by_day"]] == list(range(13))

    def test_displays_of_twelve_out_of_twelve_ads(self) -> None:
        ads = type("Ads", (), {})()
        ads.ids, ads.weight = np.arange(12), np.array([1e9, *[1e-9] * 11])
        ads.first_day, ads.last_day = np.zeros(12), np.full(12, 14)
        drawn = displays._draw_ads(np.random.default_rng(0), ads, np.array([0, 0, 14]), np.array([12, 2, 12]))
        assert drawn[:12].tolist() == drawn[-12:].tolist() == list(range(12))
        assert drawn[12] == 0
        assert 0 < drawn[13] < 12

    def test_tiny_logs_have_unknown_documents(self, tmp_path: Path) -> None:
        for seed in range(5):
            folder = tmp_path / str(seed)
            generate(folder, displays=60, users=50, documents=70, ads=40, page_views=100, seed=seed)
            known = set(read(folder, "documents_meta").document_id)
            assert set(read(folder, "promoted_content").document_id) - known
            assert set(read(folder, "events").document_id) - known

    def test_sizes_are_taken(self, tmp_path: Path) -> None:
        generate(tmp_path / "log", displays=60, users=10, documents=70, ads=40, page_views=500)
        events, views = read(tmp_path / "log", "events"), read(tmp_path / "log", "page_views")
        assert events.uuid.nunique() == 8
        assert views.uuid.nunique() <= 10
        assert len(views) == 500
        assert len(read(tmp_path / "log", "promoted_content")) == 40
        used = {*events.document_id, *views.document_id, *read(tmp_path / "log", "documents_meta").document_id}
        assert 50 < len(used) <= 70


class TestMap:
    def test_best_and_random_against_all_orders(self) -> None:
        rng = np.random.default_rng(0)
        of = some_displays([2, 3, 5, 6])
        utility = 2 * rng.normal(size=16)
        probability = clicks.softmax(utility, of.starts, of.sizes)
        best = clicks.average_precision(utility, probability, of)
        random = clicks.random_average_precision(of.sizes)
        for i, (start, size) in enumerate(zip(of.starts, of.sizes, strict=True)):
            p = np.exp(utility[start : start + size]) / np.exp(utility[start : start + size]).sum()
            np.testing.assert_allclose(probability[start : start + size], p)
            values = [sum(p[ad] / (rank + 1) for rank, ad in enumerate(order)) for order in itertools.permutations(range(size))]
            assert best[i] == pytest.approx(max(values), rel=1e-12)
            assert random[i] == pytest.approx(np.mean(values), rel=1e-12)

    def test_realised(self) -> None:
        of = some_displays([3, 2, 13])
        score = np.array([0.1, 0.9, 0.5, 0.5, 0.5, *range(13)])
        clicked = np.zeros(18)
        clicked[[2, 4, 5]] = 1
        # Second of three; a tie, broken by row; rank 13 counts nothing.
        assert clicks.average_precision(score, clicked, of).tolist() == [1 / 2, 1 / 2, 0.0]

    def test_oracle_on_the_drawn_clicks(self, log: Log) -> None:
        m, n = log.manifest, SIZES["displays"]
        # AP@12 has a standard deviation of about 0.31.
        assert m["best_map_at_12_realised"] == pytest.approx(m["best_map_at_12"], abs=4 * 0.31 / n**0.5)
        sizes = log.train.groupby("display_id").size()
        assert m["random_map_at_12"] == pytest.approx(sizes.map(lambda n: sum(1 / r for r in range(1, n + 1)) / n).mean())
        assert m["random_map_at_12"] == pytest.approx(0.481, abs=0.01)
        assert 0.70 < m["best_map_at_12"] < 0.76
        distance = m["best_map_at_12"] - m["random_map_at_12"]
        assert 0.65 < (m["best_map_at_12_without_topics"] - m["random_map_at_12"]) / distance < 0.85
        assert sum(m["signals"].values()) == pytest.approx(1)
        assert min(m["signals"].values()) > 0.01

    def test_by_day_adds_up(self, log: Log) -> None:
        m = log.manifest
        by_day = pd.DataFrame(m["by_day"])
        assert by_day.day.tolist() == list(range(13))
        assert by_day.displays.tolist() == log.events[: SIZES["displays"]].groupby("day").size().tolist()
        for name in ("best_map_at_12", "best_map_at_12_realised", "best_map_at_12_without_topics", "random_map_at_12"):
            assert np.average(by_day[name], weights=by_day.displays) == pytest.approx(m[name])


class TestSignals:
    def test_the_past_of_an_ad_ranks(self, log: Log) -> None:
        rows = log.train.merge(log.events, on="display_id")
        ads = rows.groupby("ad_id").clicked
        before = (ads.cumsum() - rows.clicked + 2) / (ads.cumcount() + 10)
        late = rows[rows.day >= 11].assign(rank=before.groupby(rows.display_id).rank(ascending=False))
        found = (1 / late["rank"][late.clicked == 1]).mean()
        days = pd.DataFrame(log.manifest["by_day"])[11:]
        best, random = (np.average(days[name], weights=days.displays) for name in ("best_map_at_12_realised", "random_map_at_12"))
        assert 0.3 < (found - random) / (best - random) < 0.75

    @pytest.mark.parametrize("side", ["user", "page"])
    def test_topics_tell_the_click(self, log: Log, side: str) -> None:
        top = read(log.folder, "documents_categories").drop_duplicates("document_id").set_index("document_id").category_id
        top.index = top.index.astype(int)
        rows = log.train.merge(log.promoted, on="ad_id").merge(log.events, on="display_id", suffixes=("", "_page"))
        rows["category"] = rows.document_id.map(top)
        if side == "page":
            match = (rows.category == rows.document_id_page.map(top)).astype(float)
        else:
            seen = rows[["uuid", "display_id", "timestamp"]].drop_duplicates().merge(log.views, on="uuid", suffixes=("", "_view"))
            seen = seen[seen.timestamp_view < seen.timestamp - 3_000]
            counts = seen.groupby(["display_id", seen.document_id.map(top)]).size()
            match = (
                pd.Series(counts.reindex(list(zip(rows.display_id, rows.category, strict=True))).to_numpy()).notna().astype(float)
            )
        clicked = match[rows.clicked == 1].to_numpy()
        other = match[rows.clicked == 0].to_numpy()
        error = np.hypot(clicked.std() / len(clicked) ** 0.5, other.std() / len(other) ** 0.5)
        assert clicked.mean() - other.mean() > 4 * error


class TestTraps:
    def test_leak(self, log: Log) -> None:
        clicked = log.train[log.train.clicked == 1].merge(log.promoted, on="ad_id")
        other = log.train[log.train.clicked == 0].merge(log.promoted, on="ad_id")

        def viewed_after(rows: pd.DataFrame) -> float:
            when = rows.merge(log.events, on="display_id", suffixes=("", "_page"))
            pairs = when.merge(log.views, on=["uuid", "document_id"], suffixes=("", "_view"))
            soon = pairs[(pairs.timestamp_view - pairs.timestamp).between(1, 120_000)]
            return soon.display_id.nunique() / rows.display_id.nunique()

        assert viewed_after(clicked) == pytest.approx(0.04, abs=0.01)
        assert viewed_after(other) < 0.002

    def test_own_page_view_of_a_display(self, log: Log) -> None:
        keys = ["uuid", "document_id", "platform", "geo_location", "day"]
        views = log.views.assign(day=log.views.timestamp // DAY_MS)
        matches = log.events.merge(views, on=keys, suffixes=("", "_view")).groupby("display_id")
        assert 0.97 < matches.ngroups / len(log.events) < 1
        assert (matches.size() > 1).sum() > 20
        near = matches.apply(lambda m: (m.timestamp - m.timestamp_view).abs().min(), include_groups=False)
        assert (near < 3_000).mean() > 0.97

    def test_repeated_page_views(self, log: Log) -> None:
        repeated = log.views.duplicated(["uuid", "document_id"]).mean()
        assert 0.02 < repeated < 0.5
        assert log.views.duplicated(["uuid", "document_id", "timestamp"]).sum() < 5

    def test_documents(self, log: Log) -> None:
        known = set(log.meta.document_id)
        assert set(log.events.document_id) - known
        assert set(log.promoted.document_id) - known
        by_source = log.meta[log.meta.source_id != ""].groupby("source_id").publisher_id
        has = by_source.agg(lambda p: (p != "").any())
        lacks = by_source.agg(lambda p: (p == "").any())
        assert (~has).any()
        assert (has & lacks).any()
        assert 0.01 < (log.meta.publisher_id == "").mean() < 0.15
        assert 0 < (log.meta.source_id == "").mean() < 0.01
        years = log.meta.publish_time[log.meta.publish_time != ""].str[:4].astype(int)
        assert years.max() > 2016
        assert years.min() < 1970
        assert (log.meta.publish_time == "").mean() == pytest.approx(1 / 3, abs=0.04)

    def test_missing_contexts(self, log: Log) -> None:
        assert 0 < (log.events.platform == "\\N").mean() < 0.002
        assert 0 < (log.events.geo_location == "").mean() < 0.002
        assert (log.views.geo_location == "--").any()

    def test_cold_ads(self, log: Log) -> None:
        test = log.test.ad_id.unique()
        assert 0.08 < (~np.isin(test, log.train.ad_id)).mean() < 0.30
        last = log.train.merge(log.events, on="display_id").groupby("ad_id").day.min()
        assert (last >= 11).sum() > 5

    def test_page_views_are_in_no_order(self, log: Log) -> None:
        assert 0.4 < (log.views.timestamp.diff().dropna() > 0).mean() < 0.6
        # Nor by kind: the views of displays' own pages are spread over the file.
        own = pd.MultiIndex.from_frame(log.views[["uuid", "document_id"]]).isin(
            pd.MultiIndex.from_frame(log.events[["uuid", "document_id"]])
        )
        quarters = [part.mean() for part in np.array_split(own, 4)]
        assert max(quarters) < 1.3 * min(quarters)


class TestMarginals:
    """Tolerances are about four standard errors."""

    def test_ads_per_display(self, log: Log) -> None:
        sizes = pd.concat([log.train, log.test]).groupby("display_id").size()
        share = sizes.value_counts(normalize=True).reindex(range(2, 13), fill_value=0)
        np.testing.assert_allclose(
            share, [0.0812, 0.0939, 0.3165, 0.0883, 0.2573, 0.0082, 0.0658, 0.0653, 0.0225, 0, 0.001], atol=0.026
        )

    def test_platforms_and_traffic_sources(self, log: Log) -> None:
        share = log.events.platform.value_counts(normalize=True)
        np.testing.assert_allclose(share[["1", "2", "3"]], [0.3905, 0.4747, 0.1348], atol=0.03)
        share = log.views.traffic_source.value_counts(normalize=True)
        np.testing.assert_allclose(share[[1, 2, 3]], [0.790, 0.112, 0.098], atol=0.01)

    def test_locations(self, log: Log) -> None:
        geo = log.events.geo_location
        assert (geo.str[:2] == "US").mean() == pytest.approx(0.8043, abs=0.025)
        assert (geo.str[:5] == "US>CA").mean() == pytest.approx(0.1036, abs=0.02)
        # The published depths are from a sample with more of the US, and do not go with the published share of the US.
        depth = geo.str.count(">").value_counts(normalize=True)
        np.testing.assert_allclose(depth[[0, 1, 2]], [0.041, 0.162, 0.797], atol=0.06)

    def test_location_table(self) -> None:
        names, shares, country, offsets = marginals.locations()
        assert len(names) == len(set(names)) == len(shares) == len(country) == len(offsets)
        assert shares.sum() == pytest.approx(1)
        assert names[-1] == ""
        assert shares[-1] == 0
        assert len(set(country)) == len({name[:2] for name in names})
        assert offsets[names.index("US>CA>803")] == -7

    def test_users(self, log: Log) -> None:
        displays_of = log.events.uuid.value_counts()
        share = displays_of.value_counts(normalize=True)
        np.testing.assert_allclose(share[[1, 2, 3]], [0.8842, 0.0860, 0.0190], atol=0.02)
        assert 5 <= displays_of.max() <= 49

    def test_ads_are_skewed(self, log: Log) -> None:
        views = log.train.ad_id.value_counts()
        assert 0.12 < (views == 1).mean() < 0.30
        assert 0.35 < (views > 5).mean() < 0.65
        assert views.mean() > 3 * views.median()
        assert views.max() / len(log.train) < 0.03

    def test_time_of_day_and_week(self, log: Log) -> None:
        hour = log.views.timestamp // 3_600_000 % 24
        assert hour.between(9, 17).mean() > 2 * hour.between(0, 6).mean()
        by_day = log.events.groupby("day").size()
        # Day 0 is a Tuesday.
        assert by_day[[4, 5, 11, 12]].mean() < 0.9 * by_day[[0, 1, 2, 3, 6, 7, 8, 9, 10]].mean()

    def test_aspects(self, log: Log) -> None:
        for role, mean, covered in (("topics", 4.54, 0.832), ("entities", 3.09, 0.597), ("categories", 1.938, 0.943)):
            aspects = read(log.folder, f"documents_{role}")
            confidence = aspects.confidence_level.astype(float)
            per_document = aspects.groupby("document_id").size()
            assert per_document.mean() == pytest.approx(mean, rel=0.08)
            assert len(per_document) / len(log.meta) == pytest.approx(covered, abs=0.03)
            assert confidence.between(0.008, 1).all()
            if role == "categories":
                pairs = aspects.groupby("document_id").confidence_level.agg(",".join)
                assert 0.5 < (pairs == "0.92,0.07").mean() < 0.75
                assert aspects.category_id.nunique() == 97
            if role == "topics":
                assert confidence.max() < 0.43
                assert aspects.topic_id.astype(int).between(0, 299).all()


def test_importing_is_cheap() -> None:
    code = "import sys, pipeline.synth; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"tensorflow", "tfx", "apache_beam", "transforms", "components", "pandas"} & set(loaded)
