"""Paths of a moved root, configurations, statistics and numbers as they are written."""

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline import run
from pipeline.console import RunConsole
from pipeline.paths import RootPaths
from pipeline.report import blocks, content, gather, settings, statistics, write
from pipeline.report.artifacts import NotThereError, locate, relative
from pipeline.report.write import choose_run
from schemas.errors import ConfigError


def test_an_artifact_is_looked_for_below_the_root_where_it_is_now():
    old, new, below = Path("/artifacts/old"), Path("/new"), "artifacts/Trainer/model/7"
    assert locate(f"{old}/{below}", old) == old / below
    assert locate(f"{old}/{below}", new) == new / below
    assert relative(f"{old}/{below}", new) == relative(f"{old}/{below}", old) == below
    assert locate("/elsewhere/model", new) == Path("/elsewhere/model")
    assert relative("/elsewhere/model", new) == "/elsewhere/model"


def test_configurations_are_compared_key_by_key():
    before = {"trainer": {"num_epochs": 20, "seed": 0, "losses": [{"name": "softmax"}]}, "old": {"key": 1}}
    now = {"trainer": {"num_epochs": 4, "seed": 0, "losses": [{"name": "softmax"}], "note": "yes: it is"}}
    assert settings.changes(settings.flatten(before), settings.flatten(now)) == (
        content.Changed("trainer.num_epochs", "20", "4"),
        content.Changed("trainer.note", "not there", "'yes: it is'"),
        content.Changed("old.key", "1", "not there"),
    )
    assert settings.flatten({"a": {}, "b": None, "c": {"d": []}}) == {"a": "{}", "b": "null", "c.d": "[]"}


def stats(country, views):
    """Statistics of a text column with these counts, and of a number with this histogram."""
    found = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = found.datasets.add(num_examples=sum(country.values()))
    text = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    text.path.step.append("event_country")
    text.string_stats.common_stats.num_non_missing = sum(country.values())
    text.string_stats.unique = len(country)
    for value, count in country.items():
        text.string_stats.top_values.add(value=value, frequency=count)
        text.string_stats.rank_histogram.buckets.add(label=value, sample_count=count)
    number = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.INT)
    number.path.step.append("user_views")
    number.num_stats.common_stats.num_non_missing = sum(views) - 2
    number.num_stats.mean = 1.5
    histogram = number.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
    for i, count in enumerate(views):
        histogram.buckets.add(low_value=i, high_value=i + 1, sample_count=count)
    return found


def test_drift_is_the_largest_difference_of_shares_or_the_jensen_shannon_divergence():
    before, now = stats({"US": 6, "CA": 4}, [10, 0]), stats({"US": 8, "CA": 1, "GB": 1}, [0, 10])
    found = statistics.distances(now, before)
    assert found["event_country"] == pytest.approx(0.3)  # CA: 0.1 and 0.4
    assert found["user_views"] == pytest.approx(1.0)  # nothing in common
    assert statistics.distances(before, before) == {"event_country": 0.0, "user_views": pytest.approx(0.0)}


def test_statistics_tell_of_the_columns_that_are_there():
    before, now = stats({"US": 6, "CA": 4}, [10, 0]), stats({"US": 8, "CA": 2}, [10, 0])
    found = statistics.summarise(now, now, before, "", 0.1, ("user_views", "event_country", "uuid"))
    views, country = found.features
    assert (views.name, views.missing, views.mean, views.drift) == ("user_views", pytest.approx(0.2), 1.5, pytest.approx(0.0))
    assert (country.kind, country.distinct, country.top, country.drift, country.shift) == ("text", 2, "US", pytest.approx(0.2), 0.0)
    assert found.drift is None
    alone = statistics.summarise(now, now, None, "Nothing was blessed.", 0.1, ("user_views",))
    assert (alone.drift, alone.features[0].drift) == (content.Absent("Nothing was blessed."), None)


class Run:
    """What `gather` asks of a run in the metadata store."""

    def __init__(self, folder, artifact_id, blessed_before=None):
        self.path, self.run_id, self.blessed_before = folder, folder.name, blessed_before
        self.outputs = {"StatisticsGen": {"statistics": SimpleNamespace(id=artifact_id)}}

    def folder(self, node, output):
        if not self.path.exists():
            raise NotThereError("here is gone, the statistics of StatisticsGen.")
        return self.path


def of_run(folder, country):
    for split in ("train", "eval"):
        (folder / f"Split-{split}").mkdir(parents=True)
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(stats(country, [10, 0]).SerializeToString())
    return folder


def test_drift_is_from_the_blessed_run_and_says_why_if_there_is_none(tmp_path):
    old, new = of_run(tmp_path / "old", {"US": 6, "CA": 4}), of_run(tmp_path / "new", {"US": 8, "CA": 2})

    def drift(blessed_before, artifact_id=2):
        sources = SimpleNamespace(run=Run(new, artifact_id, blessed_before), config={"report": {"drift_threshold": 0.15}})
        found = gather._statistics(sources)
        assert found.threshold == 0.15
        return found.drift.why if found.drift else {f.name: f.drift for f in found.features}["event_country"]

    assert drift(Run(old, 1)) == pytest.approx(0.2)
    assert drift(None) == "There is no drift to measure: no model was blessed before this run."
    assert drift(Run(old, 2)) == "The blessed run old has the very same statistics: the data did not change."
    shutil.rmtree(old)
    assert drift(Run(old, 1)) == "Of the blessed run old: here is gone, the statistics of StatisticsGen."


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (blocks.number(0.69012), "0.6901"),
        (blocks.number(None), "–"),
        (blocks.signed(-0.0123), "−0.0123"),
        (blocks.signed(0.0123), "+0.0123"),
        (blocks.percent(0.1234), "12.3 %"),
        (blocks.count(12345.0), "12,345"),
        (blocks.short(12345.6), "1.235e+04"),
        (blocks.short(0.00012345), "0.0001234"),
        (blocks.interval(content.Estimate(0.5, 0.4, 0.6)), "0.4000 to 0.6000"),
        (blocks.interval(content.Estimate(0.5)), "–"),
        (blocks.duration(0.26), "0.3 s"),
        (blocks.duration(47.2), "47 s"),
        (blocks.duration(138.0), "2 min 18 s"),
        (blocks.duration(11_100), "3 h 5 min"),
        (blocks.size(1536), "1.5 KiB"),
        (blocks.size(3 * 2**30), "3.0 GiB"),
        (blocks.moment(0), "1970-01-01 00:00 UTC"),
    ],
)
def test_numbers_are_written_for_people(written, expected):
    assert written == expected


def test_the_latest_run_is_reported_on_unless_another_is_asked_for(tmp_path):
    paths = RootPaths(tmp_path)
    with pytest.raises(ConfigError, match="no run has been here"):
        choose_run(paths, None)
    for run_id in ("20260101-120000-aaaa", "20260102-120000-bbbb"):
        paths.run(run_id).mkdir(parents=True)
        (paths.run(run_id) / "config.resolved.yaml").write_text("{}")
    (paths.runs / "20260103-120000-cccc").mkdir()  # a run that wrote nothing
    assert choose_run(paths, None) == "20260102-120000-bbbb"
    assert choose_run(paths, "20260101-120000-aaaa") == "20260101-120000-aaaa"
    with pytest.raises(ConfigError, match=r"did you mean 20260101-120000-aaaa.* Received: 20260101-120000-aaab"):
        choose_run(paths, "20260101-120000-aaab")


def test_a_run_is_not_lost_for_the_want_of_a_report(tmp_path, monkeypatch):
    def fails(paths, run_id, console):
        raise RuntimeError("no font\nat all")

    monkeypatch.setattr(write, "write_report", fails)
    screen = io.StringIO()
    summary = {"run_id": "20260101-120000-aaaa", "summary": str(tmp_path / "summary.json"), "report": str(tmp_path / "report.html")}
    run.write_report(RootPaths(tmp_path), summary, RunConsole(screen, 1))
    assert summary["report"] is None
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert screen.getvalue() == f"warning: no report: no font; `clickrank report --root {tmp_path}` makes it\n"
