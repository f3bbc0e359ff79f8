"""What is refused, and how a comparison reads; reruns themselves are in test_after_a_run.py."""

import io
import json
from pathlib import Path

import pytest

from pipeline.config import to_yaml
from pipeline.console import RunConsole
from pipeline.paths import RootPaths
from pipeline.record import Record, keep_record, read_record
from pipeline.repetition import compare
from schemas.config import Config
from schemas.tables import OUTBRAIN
from tests.faults.command import check_failed, clickrank
from tests.tables import write_log
from transforms.sources import find_sources

RUN = "20260101-000000-abcd"


def make_run(root: Path, log: Path, run_id: str = RUN, *, map_at_12: float | None = 0.5, **kept) -> RootPaths:
    """Writes what a run leaves in its folder; with `map_at_12=None`, of one that did not come to its end."""
    paths = RootPaths(root)
    paths.run(run_id).mkdir(parents=True)
    (paths.run(run_id) / "config.resolved.yaml").write_text(to_yaml(Config()))
    how = {"runner": "beam", "from_node": None, "rerun_of": None} | kept
    keep_record(paths, run_id, log, find_sources(str(log), OUTBRAIN), **how)
    if map_at_12 is not None:
        model = paths.artifacts / "Trainer" / "model" / run_id / "Format-Serving"
        model.mkdir(parents=True)
        (model / "saved_model.pb").write_text(f"a model of {map_at_12}")
        summary = {"run_id": run_id, "map_at_12": map_at_12, "blessed": True, "model": str(model.parent)}
        (paths.run(run_id) / "summary.json").write_text(json.dumps(summary))
    return paths


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "log")


def test_the_record_says_what_the_run_was_made_of(tmp_path, log):
    record = read_record(make_run(tmp_path / "root", log), RUN)
    assert record.data == str(log)
    assert record.files[0].name == "clicks_train.csv"
    assert set(record.code) == {"schemas", "transforms", "components", "pipeline"}
    assert "tensorflow" in record.packages
    assert "cores" in record.machine


def test_a_run_that_began_later_was_made_of_what_the_run_before_it_was_made_of(tmp_path, log):
    paths = make_run(tmp_path / "root", log)
    other = write_log(tmp_path / "other", documents=False)
    make_run(tmp_path / "root", other, "20260102-000000-abcd", from_node="Trainer")
    later = read_record(paths, "20260102-000000-abcd")
    assert (later.data, later.from_node) == (str(log), "Trainer")
    assert later.files == read_record(paths, RUN).files
    make_run(tmp_path / "empty", log, from_node="Trainer")
    assert not RootPaths(tmp_path / "empty").record(RUN).exists()


def test_what_is_not_as_it_was_is_told():
    then = Record("d", (), "f", {"schemas": "a", "pipeline": "b"}, {"numpy": "1.0", "tfx": "1"}, "M, 2 cores", "beam", "Trainer")
    now = Record("d", (), "f", {"schemas": "a", "pipeline": "c"}, {"numpy": "2.0", "tfx": "1"}, "M, 4 cores", "beam")
    assert now.differences(then) == [
        "the code in pipeline/",
        "numpy 2.0 (was 1.0)",
        "the machine, M, 4 cores (was M, 2 cores)",
        "the first run began at Trainer, with what the run before it had left",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.5, "MAP@12 is the same, bit for bit; the model's files are the same, too."),
        (0.5 + 2**-53, "MAP@12 is NOT the same: 1.11e-16 higher than 0.500000."),
        (0.375, "MAP@12 is NOT the same: 0.125 lower than 0.500000."),
    ],
)
def test_two_runs_are_compared_to_the_last_bit(tmp_path, log, value, said):
    paths = make_run(tmp_path / "root", log)
    make_run(tmp_path / "root", log, "second", map_at_12=value)
    summary = json.loads((paths.run("second") / "summary.json").read_text())
    found = compare(paths, RUN, summary)
    assert (found["same"], found["same_model"], found["difference"]) == (value == 0.5, value == 0.5, value - 0.5)
    assert found["changed"] == []
    assert said in shown(found, blessed=True)
    assert "held against the model that is blessed now" in shown(found, blessed=False)


def shown(rerun, *, blessed) -> str:
    screen = io.StringIO()
    summary = {
        **dict.fromkeys(("map_at_12_random", "map_at_12_popularity", "map_at_12", "map_at_12_blessed", "map_at_12_best"), 0.5),
        **{
            "displays": 1,
            "blessed": blessed,
            "reasons": [],
            "pushed_path": None,
            "peak_rss_bytes": 1,
            "seconds": 1,
            "report": None,
        },
        **{"summary": "s", "way_to_best": None, "rerun": rerun, "infra": {"passed": True, "reasons": []}, "not_pushed": None},
    }
    RunConsole(screen, 1).summarise(summary)
    return screen.getvalue()


def test_a_run_that_cannot_be_run_again_is_refused_by_name(tmp_path, log):
    root = tmp_path / "root"
    check_failed(clickrank("rerun", RUN, "--root", root), 2, "no run has been here")
    paths = make_run(root, log, map_at_12=None)
    check_failed(clickrank("rerun", "20260101-000000-abce", "--root", root), 2, "RUN_ID: no such run; did you mean", RUN)
    check_failed(clickrank("rerun", RUN, "--root", root), 2, f"run {RUN} did not come to its end")
    (paths.run(RUN) / "summary.json").write_text('{"map_at_12": 0.5}')
    paths.record(RUN).unlink()
    check_failed(clickrank("rerun", RUN, "--root", root), 2, f"run {RUN} has no record of what it was made of")


def test_other_data_is_refused_by_file_and_leaves_no_run(tmp_path, log):
    root = tmp_path / "root"
    make_run(root, log)
    moved = log.rename(tmp_path / "moved")
    check_failed(clickrank("rerun", RUN, "--root", root), 3, str(log), "no such folder")
    clicks = moved / "clicks_train.csv"
    clicks.write_bytes(clicks.read_bytes().replace(b"1,10,1", b"1,10,0"))
    done = clickrank("rerun", RUN, "--root", root, "--data", moved)
    check_failed(done, 3, f"{moved}: not the data of run {RUN}: clicks_train.csv has other content of the same size")
    assert [folder.name for folder in (root / "runs").iterdir()] == [RUN]
