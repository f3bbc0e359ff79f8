"""What can be done with a run once it has ended: tracked, run again, looked at in a notebook. By the command line, on one root."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from pipeline.synth import generate
from tests.faults.command import PROJECT, TINY, clickrank, environment
from tests.pipeline.mlflow_server import running

pytestmark = pytest.mark.slow

CELLS = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
shell, shown = InteractiveShell.instance(colors="NoColor"), []
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        with capture_output() as captured:
            result = shell.run_cell("".join(cell["source"]))
        outputs = [type(o.data).__name__ + " ".join(o.data) + str(o.data) for o in captured.outputs]
        error = result.error_in_exec or result.error_before_exec
        shown.append({"result": type(result.result).__name__, "outputs": outputs, "error": error and repr(error)})
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "log"
    generate(folder, displays=1000, seed=3)
    return folder


@pytest.fixture(scope="module")
def first(log, server, tmp_path_factory):
    """A root with one finished run that was tracked, and its summary."""
    root = tmp_path_factory.mktemp("root")
    sliced = ("--set", 'evaluate.slices=[["event_platform"]]')
    done = clickrank("run", log, "--root", root, *TINY, *sliced, "--set", f"tracking.mlflow_uri={server}", "--json")
    assert done.returncode == 0, done.stderr
    assert f"MLflow: {server}/#/experiments/" in done.stderr
    return root, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def again(first):
    """What a rerun of it came to, in a process where strings hash otherwise; and what the root's files were before."""
    root, result = first
    before = digests(root)
    env = environment(PYTHONHASHSEED="1")
    done = clickrank("rerun", result["run_id"], "--root", root, "--json", env=env)
    assert done.returncode == 0, done.stderr
    return done, json.loads(done.stdout.splitlines()[-1]), before


def digests(root):
    """Path -> digest of all that runs put out."""
    files = [path for folder in ("artifacts", "runs", "serving") for path in (root / folder).rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_rerun_runs_every_node_and_comes_to_the_same_model_bit_for_bit(first, again):
    _, result = first
    done, summary, _ = again
    assert summary["cached_nodes"] == []
    assert set(summary["node_seconds"]) == set(result["node_seconds"])
    assert summary["map_at_12"] == result["map_at_12"]
    assert summary["rerun"] == {
        **{"of": result["run_id"], "map_at_12": result["map_at_12"], "difference": 0.0, "same": True, "same_model": True},
        **{"blessed": True, "changed": []},
    }
    assert "MAP@12 is the same, bit for bit; the model's files are the same, too." in done.stderr


def test_a_rerun_leaves_the_first_run_as_it_was_and_pushes_nothing(first, again):
    root, result = first
    _, summary, before = again
    after = digests(root)
    assert {path: digest for path, digest in before.items() if after.get(path) != digest} == {}
    assert (summary["pushed_version"], summary["pushed_before"]) == (result["pushed_version"], True)
    assert [v.name for v in (root / "serving").iterdir() if v.name.isdigit()] == [str(result["pushed_version"])]


def test_a_training_that_started_from_the_blessed_model_starts_from_that_one_again(log, first, again):
    root, _ = first
    settings = ("--set", "trainer.warm_start=latest_blessed", "--set", "trainer.seed=5", "--set", "gate.max_loss_to_blessed=1")
    done = clickrank("run", log, "--root", root, *TINY, *settings, "--json")
    assert done.returncode == 0, done.stderr  # blessed, so the latest blessed model is another one now
    warm = json.loads(done.stdout.splitlines()[-1])
    assert warm["map_at_12"] != again[1]["map_at_12"]
    done = clickrank("rerun", warm["run_id"], "--root", root, "--json")
    assert done.returncode == 0, done.stderr
    rerun = json.loads(done.stdout.splitlines()[-1])["rerun"]
    assert (rerun["same"], rerun["same_model"]) == (True, True)


def test_both_runs_are_in_mlflow_with_parameters_curves_files_and_tags(first, again, server):
    from mlflow import MlflowClient

    root, result = first
    client = MlflowClient(tracking_uri=server)
    found = client.search_runs([client.get_experiment_by_name("clickrank").experiment_id])
    runs = {run.data.tags["clickrank.run_id"]: run for run in found}
    assert set(runs) == {result["run_id"], again[1]["run_id"]}
    assert runs[again[1]["run_id"]].data.tags["clickrank.rerun_of"] == result["run_id"]
    run = runs[result["run_id"]]
    assert run.data.metrics["map_at_12"] == result["map_at_12"]
    assert run.data.params["model.hidden_units"] == "[4]"
    assert run.data.tags["clickrank.blessed"] == "true"
    history = min((root / "artifacts" / "Trainer" / "model_run").glob("*/history.jsonl"), key=lambda file: int(file.parent.name))
    steps = [json.loads(line)["step"] for line in history.read_text().splitlines()]
    assert [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")] == steps
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"config.resolved.yaml", "summary.json", "record.json", "verdict.json", "report.html"}


def test_every_cell_of_the_notebook_shows_something(first, again):
    root, _ = first
    done = clickrank("dashboard", "--root", root, "--run", again[1]["run_id"], "--no-open", "--json")
    notebook = json.loads(done.stdout)["notebook"]
    env = {**os.environ, "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(PROJECT)}
    ran = subprocess.run([sys.executable, "-c", CELLS, notebook], capture_output=True, text=True, check=False, env=env)
    assert ran.returncode == 0, ran.stderr
    cells = json.loads(ran.stdout.splitlines()[-1])
    assert [cell["error"] for cell in cells] == [None] * len(cells)
    _, _, metrics, slices, plots, series, statistics, anomalies, drift = cells
    assert metrics["result"] == "SlicingMetricsViewer"
    assert len(slices["outputs"]) == 1
    assert "event_platform" in slices["outputs"][0]
    assert plots["result"] in ("PlotViewer", "str")
    assert series["result"] == "TimeSeriesViewer"
    assert "facets" in statistics["outputs"][0]
    assert len(anomalies["outputs"]) == 2
    assert len(drift["outputs"]) == 2
    assert "distance" in drift["outputs"][1]
