"""The whole pipeline on a small synthetic log, by the command line, under both of TFX's local runners."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.nodes import nodes_for
from pipeline.synth import generate
from schemas.config import Config

NODES = nodes_for(Config())
TINY = [
    *("--set", "encoding.max_buckets=500", "--set", "model.hidden_units=[16]", "--set", "model.max_embedding_dim=4"),
    *("--set", "trainer.num_epochs=2", "--set", "trainer.global_batch_size=256"),
]
ANY_MODEL = ["--set", "gate.min_gain_over_popularity=-1", "--set", "gate.max_calibration=null"]


def clickrank(*args):
    done = subprocess.run([sys.executable, "-m", "pipeline.cli", *map(str, args)], capture_output=True, text=True, check=False)
    return done, json.loads(done.stdout.splitlines()[-1]) if "--json" in args else None


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "log"
    generate(folder, displays=1000, seed=3)
    return folder


@pytest.fixture(scope="session")
def first(log, tmp_path_factory):
    """A root with one finished run, and what that run printed."""
    root = tmp_path_factory.mktemp("beam")
    done, result = clickrank("run", log, "--root", root, *TINY, *ANY_MODEL, "--json")
    assert done.returncode == 0, done.stderr
    return root, done, result


def test_a_run_ends_in_a_pushed_model_and_figures_over_every_eval_display(log, first):
    root, _, result = first
    truth = [day for day in json.loads((log / "synth.json").read_text())["by_day"] if day["day"] in (11, 12)]
    displays = sum(day["displays"] for day in truth)
    assert result["displays"] == displays
    random = sum(day["displays"] * day["random_map_at_12"] for day in truth) / displays
    assert result["map_at_12_random"] == pytest.approx(random, abs=1e-9)
    assert result["map_at_12_best"] > result["map_at_12"] > 0
    assert result["blessed"] is True
    assert result["infra"]["passed"] is True
    assert result["infra"]["reasons"][3].startswith("300 ads of ")
    assert result["bad_rows"] == {}
    pushed = Path(result["pushed_path"])
    assert pushed == root / "serving" / str(result["pushed_version"])
    assert (pushed / "saved_model.pb").exists()
    assert result["cached_nodes"] == []
    assert set(result["node_seconds"]) == set(NODES)


def test_the_screen_shows_a_line_for_every_node_and_a_summary_and_nothing_else(first):
    _, done, _ = first
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines[0].startswith("Run ")
    assert len([line for line in lines if line.endswith(" s")]) == len(NODES)
    assert "BLESSED" in lines
    assert len(lines) < len(NODES) + 16, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_run_keeps_its_log_its_resolved_configuration_and_its_summary(first):
    root, _, result = first
    folder = root / "runs" / result["run_id"]
    assert yaml.safe_load((folder / "config.resolved.yaml").read_text())["model"]["hidden_units"] == [16]
    assert json.loads((folder / "summary.json").read_text()) == result
    assert "Trainer" in (folder / "log.txt").read_text()


def test_a_run_leaves_a_report_with_every_part(first):
    root, done, result = first
    report = Path(result["report"])
    assert report == root / "runs" / result["run_id"] / "report.html"
    assert f"Report: {report}" in done.stderr.replace("\n", "")
    text = report.read_text()
    assert f"<title>Blessed: run {result['run_id']}</title>" in text
    assert "Not there." not in text
    assert f"{result['map_at_12']:.4f}" in text
    # All eval displays are fewer than those of the sample: the model that was built anew ranks as the exported one.
    importance = json.loads((report.parent / "importance.json").read_text())["found"]
    assert importance["displays"] == importance["of_displays"] == result["displays"]
    assert importance["map_at_12"] == pytest.approx(result["map_at_12"], abs=1e-9)


def test_a_run_notes_what_each_node_took(first):
    root, _, result = first
    nodes = json.loads((root / "runs" / result["run_id"] / "nodes.json").read_text())
    assert [node["node"] for node in nodes] == list(result["node_seconds"])
    assert {node["state"] for node in nodes} == {"finished"}
    by_name = {node["node"]: node for node in nodes}
    assert by_name["Trainer"]["cpu_seconds"] > 1
    assert all(1 << 28 < node["peak_rss_bytes"] < 1 << 34 for node in nodes)


def test_a_root_that_was_moved_and_lost_artifacts_is_reported_on_and_the_report_says_what_is_gone(first, tmp_path):
    root, _, result = first
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    shutil.rmtree(moved / "artifacts" / "Evaluator")
    (curves,) = (moved / "artifacts" / "Trainer" / "model_run").glob("*/history.jsonl")
    curves.write_text('{"epoch": 1, "tra')
    (statistics,) = (moved / "artifacts" / "StatisticsGen" / "statistics").glob("*/Split-eval/FeatureStats.pb")
    statistics.write_bytes(statistics.read_bytes()[:100])
    (moved / "runs" / result["run_id"] / "nodes.json").write_text("[")
    done, told = clickrank("report", "--root", moved, "--run", result["run_id"], "--json")
    assert done.returncode == 0, done.stderr
    text = Path(told["report"]).read_text()
    assert Path(told["report"]).is_relative_to(moved)
    assert f"<title>Blessed: run {result['run_id']}</title>" in text
    assert text.count(" is gone, the evaluation of Evaluator.") == 3
    assert text.count("It is damaged, or was written by another version: ") == 2
    assert "CPU time and memory of this run were not recorded" in text
    assert "Checks of the gate" in text
    assert "Traceback" not in done.stderr


def test_a_report_needs_a_run(first, tmp_path):
    root, _, result = first
    done, told = clickrank("report", "--root", tmp_path, "--json")
    assert (done.returncode, "no run has been here" in told["error"]) == (2, True)
    done, told = clickrank("report", "--root", root, "--run", "20200101-000000-0000", "--json")
    assert (done.returncode, result["run_id"] in told["error"]) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_with_nothing_changed_is_served_from_cache(log, first):
    root, _, result = first
    done, again = clickrank("run", log, "--root", root, *TINY, *ANY_MODEL, "--json")
    assert done.returncode == 0, done.stderr
    assert set(again["cached_nodes"]) == set(NODES) - {"Resolver", "InfraValidator", "Pusher"}
    assert again["run_id"] != result["run_id"]
    for name in ("map_at_12", "blessed", "reasons", "pushed_version", "map_at_12_blessed"):
        assert again[name] == result[name]
    assert again["pushed_before"] is True
    assert [v.name for v in (root / "serving").iterdir() if v.name.isdigit()] == [str(result["pushed_version"])]


def test_a_model_that_did_not_earn_it_is_refused_with_reasons_and_not_pushed(log, first):
    root, _, result = first
    done, refused = clickrank("run", log, "--root", root, *TINY, "--set", "gate.min_gain_over_popularity=0.9", "--json")
    assert done.returncode == 4
    assert refused["blessed"] is False
    assert any("popularity" in reason for reason in refused["reasons"])
    assert refused["pushed_version"] is None
    assert "NOT BLESSED" in done.stderr
    assert not set(refused["cached_nodes"]) & {"Gate", "Pusher"}
    assert {"Trainer", "Evaluator"} <= set(refused["cached_nodes"])  # a new gate does not train a new model
    assert [v.name for v in (root / "serving").iterdir() if v.name.isdigit()] == [str(result["pushed_version"])]


def test_a_run_from_a_node_on_uses_what_is_there_and_compares_with_the_blessed_model(log, first):
    root, _, result = first
    settings = [*TINY, *ANY_MODEL, "--set", "trainer.seed=1", "--set", "gate.max_loss_to_blessed=1"]
    done, new = clickrank("run", log, "--root", root, *settings, "--from-node", "Trainer", "--runner", "local", "--json")
    assert done.returncode == 0, done.stderr
    assert set(new["node_seconds"]) == set(NODES[NODES.index("Trainer") :])
    assert new["map_at_12_blessed"] == pytest.approx(result["map_at_12"], abs=1e-12)
    assert new["pushed_version"] > result["pushed_version"]

    # Its rollback holds: the same run again does not put it back in service, but says how that is done.
    done, back = clickrank("rollback", "--root", root, "--json")
    assert (done.returncode, back["restores"], back["was"]) == (0, result["pushed_version"], new["pushed_version"])
    done, again = clickrank("run", log, "--root", root, *settings, "--from-node", "Gate", "--json")
    assert done.returncode == 4, done.stderr
    assert (again["blessed"], again["infra"]["passed"], again["pushed_version"]) == (True, True, None)
    assert f"Nothing was pushed: this model is version {new['pushed_version']}, which was rolled back; " in done.stderr
    assert (root / "serving/CURRENT").read_text() == f"{back['version']}\n"


def test_a_model_that_a_server_cannot_serve_is_not_pushed(log, first):
    root, _, _ = first
    before = (root / "serving/CURRENT").read_text()
    done, refused = clickrank("run", log, "--root", root, *TINY, *ANY_MODEL, "--set", "infra.max_bytes=1000", "--json")
    assert done.returncode == 4, done.stderr
    assert refused["blessed"] is True
    assert refused["infra"]["passed"] is False
    assert refused["infra"]["latency_ms"]["p99"] > 0
    (reason,) = refused["infra"]["reasons"]
    assert reason.endswith(" bytes on disk; infra.max_bytes is 1,000.")
    assert refused["pushed_version"] is None
    assert "INFRA CHECK FAILED" in done.stderr
    assert (root / "serving/CURRENT").read_text() == before


def test_the_local_runner_gives_the_same_model(log, first, tmp_path):
    _, _, result = first
    done, other = clickrank("run", log, "--root", tmp_path, *TINY, *ANY_MODEL, "--runner", "local", "--json")
    assert done.returncode == 0, done.stderr
    assert other["map_at_12"] == pytest.approx(result["map_at_12"], abs=1e-12)


def test_predict_scores_the_test_displays_and_writes_a_submission(log, first, tmp_path):
    root, _, _ = first
    done, result = clickrank("predict", root / "serving", log, tmp_path / "scores.csv", "--json")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (log / "clicks_test.csv").open() as file:
        asked = {(r["display_id"], r["ad_id"]) for r in csv.DictReader(file)}
    assert {(r["display_id"], r["ad_id"]) for r in rows} == asked
    assert len(rows) == len(asked) == result["rows"]
    assert all(0 < float(r["score"]) < 1 for r in rows)

    done, _ = clickrank("predict", root / "serving", log, tmp_path / "submission.csv", "--submission", "--json")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[0] == "display_id,ad_id"
    display, ads = lines[1].split(",")
    assert ads.split() == [r["ad_id"] for r in rows if r["display_id"] == display]  # scores.csv is by score, too
    assert {f.name for f in tmp_path.iterdir()} == {"scores.csv", "submission.csv"}


def test_predict_on_the_pipelines_examples_gives_what_the_evaluator_judged(first, tmp_path):
    root, _, result = first
    (examples,) = (root / "artifacts" / "ClickExampleGen" / "examples").iterdir()
    version = root / "serving" / str(result["pushed_version"])
    done, scored = clickrank("predict", version, examples / "Split-eval", tmp_path / "scores.parquet", "--json")
    assert done.returncode == 0, done.stderr
    assert scored["displays"] == result["displays"]


def test_too_many_bad_rows_stop_the_run_and_leave_the_rejects_but_no_examples(log, tmp_path):
    damaged = tmp_path / "log"
    shutil.copytree(log, damaged)
    with (damaged / "clicks_train.csv").open("a") as file:
        file.write("1,one,0\n" * 5)
    done, result = clickrank("run", damaged, "--root", tmp_path / "root", *TINY, "--json")
    assert done.returncode == 3
    assert "clicks_train: 5 of " in result["error"]
    assert "ad_id is not of type int32: 'one'" in result["error"]
    (rejects,) = (tmp_path / "root" / "rejects").iterdir()
    assert len(rejects.read_text().splitlines()) == 6
    assert not list((tmp_path / "root" / "artifacts").rglob("*tfrecord*"))
    reported, told = clickrank("report", "--root", tmp_path / "root", "--json")
    assert reported.returncode == 0, reported.stderr
    text = Path(told["report"]).read_text()
    assert "<title>Failed: run " in text
    assert "ClickExampleGen failed: clicks_train: 5 of " in text
    assert "The run has no evaluation: Evaluator did not come to its end." in text

    done, result = clickrank(
        "run",
        damaged,
        "--root",
        tmp_path / "root",
        *TINY,
        "--json",
        "--set",
        "split.eval_days=[14]",
        "--set",
        "ingest.max_bad_fraction=0.1",
    )
    assert done.returncode == 3
    assert result["error"].startswith("no display falls into the eval split")


def test_two_runs_at_one_root_do_not_mix(log, tmp_path):
    import fcntl

    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, _ = clickrank("run", log, "--root", tmp_path)
    assert done.returncode == 75
    assert "another run is using this root" in done.stderr


def test_stability_trains_on_the_latest_records_and_adds_nothing(first):
    root, _, result = first
    before = sorted(str(path) for path in root.rglob("*"))
    done, spread = clickrank("stability", "--root", root, "--seeds", 2, *TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert spread["seeds"] == [0, 1]
    assert spread["map_at_12"][0] == pytest.approx(result["map_at_12"], abs=1e-6)
    assert (spread["min"], spread["max"]) == (min(spread["map_at_12"]), max(spread["map_at_12"]))
    assert spread["standard_deviation"] == pytest.approx(abs(spread["max"] - spread["min"]) / 2**0.5)
    assert [line[:7] for line in done.stderr.splitlines() if line] == ["seed 0 ", "seed 1 "]
    assert {str(path) for path in root.rglob("*")} - set(before) <= {str(root / "stability.log")}


def test_stability_without_a_run(tmp_path):
    done, result = clickrank("stability", "--root", tmp_path, "--json")
    assert (done.returncode, "no run has been here" in result["error"]) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_training_starts_from_the_latest_blessed_model(log, first):
    root, _, _ = first
    settings = [*TINY, *ANY_MODEL, "--set", "trainer.seed=2", "--set", "trainer.warm_start=latest_blessed"]
    done, result = clickrank("run", log, "--root", root, *settings, "--json")
    assert done.returncode in (0, 4), done.stderr
    assert "WarmStartResolver" in result["node_seconds"]
    (report,) = (root / "artifacts" / "Trainer" / "model_run").glob("*/warm_start.json")
    told = json.loads(report.read_text())
    assert told["restored"]
    assert told["fresh"] == told["unused"] == []
