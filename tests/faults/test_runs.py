"""Whole runs that are killed, stopped, starved or find their root damaged; and the next run at the same root."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.synth import generate
from tests.faults.command import PROJECT, TINY, check_failed, check_good, clickrank, command, environment, mounted

pytestmark = pytest.mark.slow

IN_EXAMPLE_GEN = "artifacts/ClickExampleGen/.system/executor_execution/*/.temp/*/click_example_gen/*"
IN_TRAINER = "artifacts/Trainer/model_run/*/*"


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a log") / "ünïcode data"
    generate(folder, displays=700, seed=5)
    return folder


@pytest.fixture(scope="session")
def used_root(log, tmp_path_factory):
    """A root with a finished run. Tests damage it and end with a good run."""
    root = tmp_path_factory.mktemp("used") / "my röot"
    check_good(run(log, root))
    return root


def run(log, root, *args, **how):
    return clickrank("run", log, "--root", root, *TINY, *args, **how)


def interrupted(log, root, where, number, *args):
    """Starts a run and sends it a signal when a file matches `where`; returns the run when it has ended."""
    started = set(root.glob(where))
    process = subprocess.Popen(
        [*command("run", log, "--root", root, *TINY), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=environment(),
        # What a shell starts in the background ignores SIGINT, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 600
        while not set(root.glob(where)) - started:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def check_nothing_half_made(root):
    """Every output folder that is there is one of a finished execution, and no temporary file is left."""
    from pipeline.connection import open_store
    from pipeline.paths import RootPaths

    store = open_store(RootPaths(root))
    known = {artifact.uri for artifact in store.get_artifacts()}
    there = {str(folder) for folder in (root / "artifacts").glob("[!.]*/[!.]*/*")}
    assert there <= known
    assert not list((root / "artifacts").glob("*/.system/executor_execution/*/.temp"))
    assert not [path for path in (root / "serving").iterdir() if path.name.startswith(".tmp")]


def test_after_sigkills_the_same_command_succeeds_and_nothing_half_made_is_left(log, tmp_path):
    root = tmp_path / "root"
    assert interrupted(log, root, IN_EXAMPLE_GEN, signal.SIGKILL).returncode == -signal.SIGKILL
    assert interrupted(log, root, IN_TRAINER, signal.SIGKILL).returncode == -signal.SIGKILL
    assert not (root / "serving").exists()
    again = run(log, root, "--json")
    check_good(again)
    assert {"ClickExampleGen", "Transform"} <= set(json.loads(again.stdout)["cached_nodes"])
    check_nothing_half_made(root)


def test_a_stopped_run_says_so_and_lets_go_of_the_root(log, tmp_path):
    root = tmp_path / "root"
    done = interrupted(log, root, IN_EXAMPLE_GEN, signal.SIGTERM, "--json")
    check_failed(done, 143, "stopped by SIGTERM")
    assert json.loads(done.stdout)["exit_code"] == 143
    done = interrupted(log, root, IN_EXAMPLE_GEN, signal.SIGINT, "--runner", "local")
    check_failed(done, 130, "stopped by SIGINT")
    done = interrupted(log, root, IN_TRAINER, signal.SIGTERM, "--set", "trainer.num_epochs=500")
    check_failed(done, 75, "training was asked to stop", "run again")
    assert list((root / "checkpoints").glob("*/step-*.index"))
    check_good(run(log, root))
    check_nothing_half_made(root)


@pytest.mark.parametrize("size", ["60k", "700k", "1500k", "3m"])
def test_a_full_disk_is_transient_names_the_path_and_leaves_nothing_half_made(log, tmp_path, size):
    disk = tmp_path / "disk"
    with mounted(disk, f"size={size}"):
        error = check_failed(run(log, disk / "root"), 75, str(disk))
        assert "pace" in error
        assert not list((disk / "root").glob("serving/[0-9]*"))
        assert not list((disk / "root").glob("runs/*/summary.json"))
        if size == "3m":
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            check_good(run(log, disk / "root"))
            check_nothing_half_made(disk / "root")


def test_a_read_only_root_is_refused_and_read_only_data_are_fine(log, tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "size=64m"):
        shutil.copytree(log, disk / "log")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_failed(run(disk / "log", disk), 2, f"--root {disk}: cannot be written to")
        check_failed(run(disk / "log", disk / "root"), 2, f"--root {disk / 'root'}: cannot be made: Read-only file system")
        check_good(run(disk / "log", tmp_path / "root"))


def test_a_metadata_store_of_garbage_is_named(log, used_root):
    store = used_root / "metadata.sqlite"
    kept = store.read_bytes()
    store.write_bytes(os.urandom(5000))
    try:
        check_failed(run(log, used_root), 2, f"{store}: damaged, or no metadata store")
        assert store.stat().st_size == 5000
    finally:
        store.write_bytes(kept)
    check_good(run(log, used_root))


@pytest.mark.parametrize("what", ["folder", "files", "variables"])
def test_an_artifact_deleted_by_hand_is_made_anew(log, used_root, what):
    for model in (used_root / "artifacts" / "Trainer" / "model").iterdir():
        if what == "variables":  # half of a model: the graph is still there
            shutil.rmtree(model / "Format-Serving" / "variables", ignore_errors=True)  # not in one that another test emptied
            continue
        shutil.rmtree(model)
        if what == "files":
            model.mkdir()
    done = run(log, used_root, "--from-node", "Evaluator")
    check_failed(done, 2, "--from-node Evaluator: ", "Trainer/model/", "is gone or incomplete; run without --from-node")
    again = run(log, used_root, "--json")
    check_good(again)
    result = json.loads(again.stdout)
    assert "Transform" in result["cached_nodes"]
    assert "Trainer" not in result["cached_nodes"]


def test_starting_at_a_node_needs_an_earlier_run(log, tmp_path):
    error = check_failed(run(log, tmp_path / "root", "--from-node", "Trainer"), 2)
    assert error == "error: --from-node Trainer: no run has been at this root; run without --from-node"


def test_an_unexpected_error_in_a_node_is_one_line_and_the_log_has_the_rest_but_no_secret(log, used_root):
    (schema,) = (used_root / "artifacts" / "CuratedSchema" / "schema").glob("*/schema.pbtxt")
    kept = schema.read_bytes()
    schema.write_text("garbage {")
    canary = "canary-7f3a9c"
    try:
        env = environment(AWS_SECRET_ACCESS_KEY=canary)
        done = run(log, used_root, "--set", "encoding.max_buckets=90", "--json", env=env)
    finally:
        schema.write_bytes(kept)
    error = check_failed(done, 1, "Transform failed: ParseError: ", "; see ")
    run_log = Path(error.rpartition("; see ")[2])
    assert "Traceback (most recent call last)" in run_log.read_text()
    assert canary not in done.stdout + done.stderr
    for file in (f for f in used_root.rglob("*") if f.is_file()):
        assert canary.encode() not in file.read_bytes(), file
    check_good(run(log, used_root))


@pytest.mark.parametrize(("table", "packed"), [("clicks_train", "gz"), ("documents_meta", "gz"), ("events", "zip")])
def test_a_file_cut_in_its_middle_ends_the_run_with_its_name_and_no_examples(log, tmp_path, table, packed):
    from tests.faults.damage import compress, cut, flip

    damaged = tmp_path / "log"
    shutil.copytree(log, damaged)
    file = compress(damaged, table, f".csv.{packed}")
    flip(file, file.stat().st_size // 2) if packed == "zip" else cut(file, 0.6)
    check_failed(run(damaged, tmp_path / "root"), 3, f"{file}: damaged or cut short near byte ")
    assert not list((tmp_path / "root" / "artifacts").rglob("*tfrecord*"))


def test_a_few_bad_rows_are_reported_and_the_run_goes_on_with_relative_paths_and_its_root_inside_the_data(log, tmp_path):
    damaged = tmp_path / "my log"
    shutil.copytree(log, damaged)
    with (damaged / "clicks_train.csv").open("ab") as file:
        file.write(b"1,=HYPERLINK(1),0\n" + b"x" * 10_000_000 + b"\n" + b'"1\n2",3,0\n' + b"\0\0\n")
    settings = ["--set", "ingest.max_bad_fraction=0.01", "--json"]
    done = run("my log", "my log/root", *settings, cwd=tmp_path)
    check_good(done)
    assert json.loads(done.stdout)["bad_rows"] == {"clicks_train": 5}
    (rejects,) = (damaged / "root").glob("artifacts/ClickExampleGen/ingest_report/*/rejects.csv")
    assert len(rejects.read_text().splitlines()) == 6
    assert rejects.stat().st_size < 4096
    again = run(damaged, damaged / "root", *settings)
    check_good(again)
    assert "Transform" in json.loads(again.stdout)["cached_nodes"]
