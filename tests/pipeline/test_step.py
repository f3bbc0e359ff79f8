"""The nodes of a run as processes of their own: in order, out of order, killed, told to wait, once more."""

import fcntl
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.connection import open_store
from pipeline.kubeflow.compile import compile_pipeline
from pipeline.locks import locked_for_step
from pipeline.nodes import NODES, nodes_for
from pipeline.paths import RootPaths
from pipeline.step import FIRST, LAST
from pipeline.store import finished_nodes
from pipeline.synth import generate
from schemas.config import Config
from tests.faults.command import PROJECT, TINY, check_failed, clickrank, command, environment

RUN_ID = "20260101-120000-steps"


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps") / "log"
    generate(folder, displays=700, seed=5)
    return folder


def step(node, log, root, *args, run_id=RUN_ID):
    return clickrank("node", node, log, "--root", root, "--run-id", run_id, *TINY, *args)


def told(done):
    return json.loads(done.stdout.splitlines()[-1])


def test_what_cannot_be_run_is_refused_and_leaves_nothing(log, tmp_path):
    root = tmp_path / "root"
    check_failed(step("Trainor", log, root), 2, "no such node", "Received: 'Trainor'; the nodes are ClickExampleGen, ")
    check_failed(step("LeakAudit", log, root, "--set", "audit.in_pipeline=false"), 2, "no such node under this configuration")
    check_failed(step(FIRST, log, root, run_id="today"), 2, "--run-id", "Received: 'today'")
    assert not root.exists()


def test_a_node_waits_for_those_before_it_and_the_store_has_no_trace_of_the_try(log, tmp_path):
    check_failed(step("Prebatch", log, tmp_path), 2, f"Prebatch: ClickExampleGen, Transform must succeed first in run {RUN_ID}")
    assert open_store(RootPaths(tmp_path)).get_executions() == []


def test_a_node_that_runs_a_run_at_the_root_and_another_configuration_are_told_apart(log, tmp_path):
    steps = RootPaths(tmp_path).steps(RUN_ID)
    steps.mkdir(parents=True)
    with (steps / f"{FIRST}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_failed(step(FIRST, log, tmp_path), 75, f"{FIRST} of run {RUN_ID} is running already")
    with RootPaths(tmp_path).lock.open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_failed(step(FIRST, log, tmp_path), 75, "another run is using this root")
    with locked_for_step(RootPaths(tmp_path), RUN_ID):
        check_failed(step("Gate", log, tmp_path), 2, "must succeed first")
        check_failed(step("Gate", log, tmp_path, run_id="20260101-120000-other"), 75, "another run is using this root")
        check_failed(clickrank("run", log, "--root", tmp_path, *TINY), 75, "another run is using this root")
    done = step(FIRST, log, tmp_path, "--set", "gate.seed=1")
    check_failed(done, 2, f"run {RUN_ID} began with another configuration, its sections gate differ")


@pytest.fixture(scope="session")
def by_run(log, tmp_path_factory):
    """Root and summary of a run under the BeamDagRunner."""
    root = tmp_path_factory.mktemp("by run")
    done = clickrank("run", log, "--root", root, *TINY, "--json")
    assert done.returncode == 0, done.stderr
    return root, told(done)


def weights(summary):
    """Files of the pushed model's variables. Not those of its graph: TensorFlow numbers functions by process."""
    files = {file.name: file.read_bytes() for file in (Path(summary["pushed_path"]) / "variables").iterdir()}
    assert set(files) == {"variables.index", "variables.data-00000-of-00001"}
    return files


def start(node, log, root):
    return subprocess.Popen(
        [*command("node", node, log, "--root", root, "--run-id", RUN_ID, *TINY), "--json"],
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def by_steps(log, tmp_path_factory):
    """Root of a run whose nodes were processes of their own, and what each of them said.

    The first two ran at once on a root that did not exist; StatisticsGen was killed at work, and then ran again.
    """
    root = tmp_path_factory.mktemp("by steps") / "root"
    said = {}
    pair = {node: start(node, log, root) for node in (FIRST, "CuratedSchema")}
    for node, process in pair.items():
        out, err = process.communicate()
        assert process.returncode == 0, err
        said[node] = json.loads(out)
    killed = start("StatisticsGen", log, root)
    deadline = time.monotonic() + 300
    while not list(root.glob("artifacts/StatisticsGen/statistics/*")):
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert "StatisticsGen" not in finished_nodes(open_store(RootPaths(root)), RUN_ID)
    for node in nodes_for(Config()):
        if node not in said:
            done = step(node, log, root, "--json")
            assert done.returncode == 0, done.stderr
            said[node] = told(done)
    return root, said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_nodes_one_by_one_come_to_what_a_run_comes_to(by_run, by_steps):
    (_, whole), (root, said) = by_run, by_steps
    assert {one["state"] for one in said.values()} == {"finished"}
    summary = said[LAST]["summary"]
    assert all(one["summary"] is None for node, one in said.items() if node != LAST)
    assert summary["map_at_12"] == whole["map_at_12"]
    assert weights(summary) == weights(whole)
    assert Path(summary["pushed_path"]).parent == root / "serving"
    for key in ("displays", "map_at_12_popularity", "blessed", "reasons", "examples", "bad_rows"):
        assert summary[key] == whole[key]
    assert set(summary) == set(whole)
    assert set(summary["node_seconds"]) == set(nodes_for(Config()))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_of_steps_leaves_what_a_run_leaves(by_steps):
    root, said = by_steps
    paths = RootPaths(root)
    summary = said[LAST]["summary"]
    assert json.loads((paths.run(RUN_ID) / "summary.json").read_text()) == summary
    assert f"<title>Blessed: run {RUN_ID}</title>" in paths.report(RUN_ID).read_text()
    states = [(record["node"], record["state"]) for record in json.loads(paths.usage(RUN_ID).read_text())]
    assert states == [(node, "finished") for node in NODES if node in said]
    assert paths.record(RUN_ID).exists()
    listed = json.loads(clickrank("versions", "--root", root, "--json").stdout)["versions"]
    assert [version["map_at_12"] for version in listed] == [summary["map_at_12"]]
    store = open_store(paths)
    assert len(store.get_executions()) == len(said)  # the killed one was taken up again, and no node ran twice


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_node_that_succeeded_does_nothing_when_it_is_run_again(log, by_steps):
    root, said = by_steps
    before = {artifact.id for artifact in open_store(RootPaths(root)).get_artifacts()}
    for node in ("Resolver", LAST):  # the one would else resolve the model that has gone out since
        done = step(node, log, root, "--json")
        assert (done.returncode, told(done)["state"]) == (0, "before"), done.stderr
    assert told(done)["summary"]["pushed_version"] == said[LAST]["summary"]["pushed_version"]
    store = open_store(RootPaths(root))
    assert ({a.id for a in store.get_artifacts()}, len(store.get_executions())) == (before, len(said))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_next_run_takes_from_the_cache_and_a_refused_model_is_exit_code_4_of_the_pusher(log, by_steps):
    root, _ = by_steps  # not a copy: nodes are given paths in the root
    refused = ["--set", "gate.min_gain_over_popularity=0.9", "--set", "infra.max_bytes=1000"]
    states = {}
    for node in nodes_for(Config()):
        done = step(node, log, root, *refused, "--json", run_id="20260101-130000-again")
        states[node] = told(done)["state"]
        assert done.returncode == (4 if node == LAST else 0), done.stderr
    assert told(done)["summary"]["pushed_version"] is None
    assert "NOT BLESSED" in done.stderr
    assert {node for node, state in states.items() if state == "finished"} == {
        "Resolver",
        "Gate",
        "InfraValidator",
        LAST,
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_compiled_pipeline_really_runs_and_comes_to_what_a_run_comes_to(log, by_run, tmp_path, monkeypatch):
    """Every step by Kubeflow's own runner for one machine, which starts the very command that the pod would start."""
    from kfp import components, local

    settings = TINY[1::2]
    file, root = tmp_path / "pipeline.yaml", tmp_path / "root"
    image = "registry.example/clickrank@sha256:" + "0" * 64
    compile_pipeline(file, load_config((), [f"kubeflow.pod.image={image}", *settings[:4]]))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"), workspace_root=str(tmp_path / "work"))
    with pytest.warns(RuntimeWarning, match="non-Python base image"):
        components.load_component_from_file(str(file))(data=str(log), root=str(root), overrides=settings[4:])
    # Without a run id, the steps make one of Kubeflow's.
    (job,) = RootPaths(root).jobs.iterdir()
    run_id = job.read_text()
    summary = json.loads((RootPaths(root).run(run_id) / "summary.json").read_text())
    assert summary["map_at_12"] == by_run[1]["map_at_12"]
    assert weights(summary) == weights(by_run[1])
    assert finished_nodes(open_store(RootPaths(root)), run_id) == set(nodes_for(Config()))


def test_a_step_that_fails_ends_the_pipeline_with_its_message(tmp_path, monkeypatch, capfd):
    from kfp import components, local

    file = tmp_path / "pipeline.yaml"
    compile_pipeline(file, load_config((), ["kubeflow.allow_image_tag=true", "kubeflow.pod.image=python-clickrank:1"]))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "kfp"), workspace_root=str(tmp_path / "work"))
    with pytest.raises(RuntimeError, match="clickrank"):
        components.load_component_from_file(str(file))(data="nowhere", root=str(tmp_path / "root"), run_id="today")
    assert "error: --run-id is YYYYMMDD-HHMMSS-NAME" in capfd.readouterr().out
    assert not (tmp_path / "root").exists()
