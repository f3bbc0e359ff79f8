"""`clickrank features` as a user meets it: a process of its own, its files, its exit codes."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.synth import generate
from schemas.config import FeaturesConfig, SplitConfig
from schemas.errors import ConfigError
from schemas.features import columns
from tests.faults.command import check_failed, check_good, clickrank, command, environment
from tests.tables import write_log, write_table
from tests.transforms.test_compute_features import compute
from transforms.base_rows import SPLIT
from transforms.examples import arrow_schema
from transforms.split import EVAL, TRAIN

DISPLAYS = 600


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "log"
    generate(folder, displays=DISPLAYS, seed=4)
    return folder


def read(out: Path, split: str) -> pa.Table:
    rows = pa.concat_tables(parquet.read_table(file) for file in sorted(out.glob(f"{split}-*.parquet")))
    return rows.sort_by([("display_id", "ascending"), ("ad_id", "ascending")])


def test_the_files_hold_the_rows_of_the_pipelines_feature_engineering(log, tmp_path):
    # Small partitions, so that there are several files a split.
    settings = ("--set", "features.partition_bytes=50000", "--set", "features.ctr_prior_views=3")
    done = clickrank("features", log, tmp_path / "new" / "out", *settings, "--json")
    check_good(done)
    out = tmp_path / "new" / "out"
    expected, _, counts = compute(log, tmp_path / "work", SplitConfig(), FeaturesConfig(ctr_prior_views=3))
    for split, code in (("train", TRAIN), ("eval", EVAL)):
        found = read(out, split)
        assert found.schema.equals(arrow_schema())
        assert found.column_names == list(columns())
        assert found.equals(expected.filter(pc.equal(expected[SPLIT], code)).drop_columns([SPLIT]))
    assert len(list(out.glob("train-*.parquet"))) > 1
    assert json.loads((out / "counts.json").read_text()) == counts
    assert (out / "rejects.csv").read_text() == "table,file,line,reason,text\n"
    assert {file.name.split("-")[0] for file in out.iterdir()} == {"train", "eval", "counts.json", "rejects.csv"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    made_with = parquet.read_schema(next(out.glob("eval-*"))).metadata[b"clickrank.features"]
    assert FeaturesConfig(**json.loads(made_with)).ctr_prior_views == 3

    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["rows"] == {"train": counts["examples/train"], "eval": counts["examples/eval"]}
    assert result["path"] == str(out)
    assert result["bad_rows"] == {}
    assert result["audit"] is None
    assert result["seconds"] > 0
    assert result["cpu_seconds"] > 0
    assert result["peak_rss_bytes"] > 50 << 20
    assert f"{counts['examples/train']:,} rows  train" in done.stderr
    assert "peak memory" in done.stderr
    assert "THEIR OWN LABEL" not in done.stderr
    assert len(done.stderr.splitlines()) == 4  # the libraries' own messages are hidden


def test_only_the_columns_asked_for_are_made(log, tmp_path):
    out = tmp_path / "out"
    check_good(clickrank("features", log, out, "--column", "user_views", "--column", "pop_ad_id"))
    found = pa.concat_tables([read(out, "train"), read(out, "eval")]).sort_by([("display_id", "ascending"), ("ad_id", "ascending")])
    expected, _, _ = compute(log, tmp_path / "work", SplitConfig())
    kept = pc.is_in(expected[SPLIT], pa.array([TRAIN, EVAL]))
    names = ["display_id", "label", "user_views", "ad_id", "pop_ad_id"]
    assert found.equals(expected.filter(kept).select(names))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--column", "pop_ad"), "did you mean pop_ad_id? Received: pop_ad"),
        (("--column", "pop_ad_id", "--audit"), "the audit needs all columns: leave out --audit or --column. Received: pop_ad_id"),
    ],
)
def test_columns_that_cannot_be_made_are_refused_before_any_work(tmp_path, arguments, message):
    done = CliRunner().invoke(app, ["features", str(tmp_path), str(tmp_path / "out"), *arguments])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_a_result_is_never_overwritten_and_an_empty_folder_is_filled(tmp_path):
    log, out = write_log(tmp_path / "log"), tmp_path / "out"
    out.mkdir()
    check_good(clickrank("features", log, out))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    check_failed(clickrank("features", log, out), 2, str(out), "holds the finished result of an earlier `clickrank features`")
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    check_failed(clickrank("features", log, log), 2, str(log), "is not empty")
    check_failed(clickrank("features", log, log / "events.csv"), 2, "OUT must be a folder")
    check_failed(clickrank("features", log, log / "events.csv" / "out"), 2, "events.csv is none")


def stop_in_mid_run(log: Path, out: Path, number: int) -> int:
    """Sends the signal once workers have begun to ship rows; returns the exit code."""
    run = subprocess.Popen(command("features", log, out), stderr=subprocess.DEVNULL, env=environment())
    try:
        give_up = time.monotonic() + 120
        while not list(out.parent.glob(f".{out.name}.features-*/work/*.arrows")):
            assert run.poll() is None
            assert time.monotonic() < give_up
            time.sleep(0.01)
        run.send_signal(number)
        return run.wait(60)
    finally:
        run.kill()
        run.wait()


def test_killed_in_mid_run_it_leaves_nothing_under_out_and_the_next_run_sweeps(log, tmp_path):
    out = tmp_path / "out"
    assert stop_in_mid_run(log, out, signal.SIGKILL) == -signal.SIGKILL
    assert not out.exists()
    assert len(list(tmp_path.iterdir())) == 1
    check_good(clickrank("features", log, out))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_told_to_stop_in_mid_run_it_leaves_nothing_at_all(log, tmp_path):
    assert stop_in_mid_run(log, tmp_path / "out", signal.SIGTERM) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_exit_3_and_leaves_the_reasons_only(tmp_path):
    out = tmp_path / "out"
    done = clickrank("features", tmp_path / "nowhere", out, "--json")
    check_failed(done, 3, "nowhere: no such folder, or an empty one")
    assert json.loads(done.stdout.splitlines()[-1])["exit_code"] == 3
    assert list(tmp_path.iterdir()) == []

    log = write_log(tmp_path / "log")
    check_failed(clickrank("features", log, out, "--set", "split.eval_days=[9]"), 3, "no display falls into the eval split")
    write_table(log, "clicks_train", [(1, 10, 1), (1, 11, 0), ("=x", 1, 1), (3, 10, 1), (3, 11, 0)])
    check_failed(clickrank("features", log, out), 3, "clicks_train: 1 of 5 rows are bad", str(tmp_path / "out.rejects.csv"))
    assert "clicks_train,clicks_train.csv,4," in (tmp_path / "out.rejects.csv").read_text()
    assert not out.exists()
    done = clickrank("features", log, out, "--set", "ingest.max_bad_fraction=0.5", "--json")
    check_good(done)
    assert json.loads(done.stdout)["bad_rows"] == {"clicks_train": 1}
    assert "clicks_train,clicks_train.csv,4," in (out / "rejects.csv").read_text()


def test_the_beam_section_is_honoured(log, tmp_path):
    check_good(clickrank("features", log, tmp_path / "two", "--set", "beam.workers=2"))
    check_good(clickrank("features", log, tmp_path / "one"))
    for split in ("train", "eval"):
        assert read(tmp_path / "two", split).equals(read(tmp_path / "one", split))
    done = clickrank("features", log, tmp_path / "none", "--set", 'beam.args=["--runner=NoSuchRunner"]')
    check_failed(done, 1, "NoSuchRunner", f"see {tmp_path / 'none.log.txt'}")
    assert "NoSuchRunner" in (tmp_path / "none.log.txt").read_text()
    assert not (tmp_path / "none").exists()


def test_without_page_views_the_leak_is_not_known(tmp_path):
    done = clickrank("features", write_log(tmp_path / "log"), tmp_path / "out", "--audit", "--json")
    check_good(done)
    assert json.loads(done.stdout)["audit"]["leak"] == {"page_views": None}
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == json.loads(done.stdout)["audit"]
    assert "page_views: n/a, the table is absent" in done.stderr
    assert "table page_views is absent" in done.stderr


@pytest.fixture(scope="module")
def long_log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "log"
    generate(folder, displays=20_000, seed=0)
    return folder


def test_what_a_row_knew_of_the_past_passes_the_audit(long_log, tmp_path):
    done = clickrank("features", long_log, tmp_path / "out", "--audit", "--json")
    check_good(done)
    audit = json.loads(done.stdout)["audit"]
    assert audit["passed"]
    assert max(probe["gap"] for probe in audit["probes"]) < 0.012
    for found in audit["leak"]["page_views"].values():
        assert 0.005 < found["share"] < 0.02  # the synthetic log plants 4 % of the clicks, of one row in five
        assert found["map_at_12"] > found["map_at_12_random"] + 0.01
    assert len([line for line in done.stderr.splitlines() if line.endswith("  pass")]) == len(audit["probes"])


def test_rows_that_see_their_own_label_fail_the_audit(long_log, tmp_path):
    done = clickrank("features", long_log, tmp_path / "out", "--audit", "--json", "--set", "features.history=all")
    check_failed(done, 3, "pop_ad_id", "pop_source_id_country", "popularity")
    assert done.stderr.splitlines()[0].startswith("warning: features.history=all: rows see the future and THEIR OWN LABEL")
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["exit_code"] == 3
    assert {"pop_ad_id", "pop_document_id", "pop_source_id_country", "popularity"} <= set(result["audit"]["failed"])
    assert all(name.startswith("pop") for name in result["audit"]["failed"])
    assert (tmp_path / "out" / "audit.json").exists()  # kept, to look at
