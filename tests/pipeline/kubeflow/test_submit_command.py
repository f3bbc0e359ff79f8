"""`clickrank submit` as a process, from the command line to the exit code, against the test's server."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.kubeflow.compile import step_name
from pipeline.kubeflow.errors import TOKEN_VARIABLE
from pipeline.nodes import NODES
from tests.pipeline.kubeflow.backend import Fault
from tests.pipeline.kubeflow.conftest import IMAGE
from tests.pipeline.kubeflow.script import Script

RUN, SECRET = "20260101-120000-a", "hush-hush-4711"
CREATE_RUN = 8
"""Number of the call that makes the run, where nothing is there yet."""


@pytest.fixture
def command(kubeflow, tmp_path):
    """Starts the command; its output goes to files, so that it can be looked at while it runs."""
    kubeflow.token = SECRET
    config = tmp_path / "cluster.yaml"
    config.write_text(f"kubeflow: {{pod: {{image: '{IMAGE}'}}, api: {{poll_s: 0.1, backoff_s: 0.1, experiment: from the file}}}}\n")
    (tmp_path / "home").mkdir()

    def start(*arguments):
        words = [sys.executable, "-m", "pipeline.cli", "submit", "/clickrank/tables", "--root", "/clickrank"]
        words += ["--config", str(config), "--endpoint", kubeflow.address, "--run-id", RUN, "--json", *arguments]
        environment = {**os.environ, TOKEN_VARIABLE: SECRET, "HOME": str(tmp_path / "home")}
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            return subprocess.Popen(words, stdout=out, stderr=err, env=environment)

    return start


@pytest.fixture
def seen(kubeflow, tmp_path):
    """What the process said: its JSON, and the lines on the screen. The token is in nothing that it left."""

    def read():
        out, err = (tmp_path / "out").read_text(), (tmp_path / "err").read_text()
        files = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert SECRET not in "".join([*(file.read_text() for file in files), json.dumps([kubeflow.things, kubeflow.specs])])
        assert not list((tmp_path / "home").rglob("*kfp*"))
        return json.loads(out.splitlines()[-1]), err.splitlines()

    return read


def test_it_submits_and_waits_for_success(kubeflow, command, seen):
    assert command("--wait", "--experiment", "nightly").wait(300) == 0
    told, lines = seen()
    assert (told["state"], told["run_id"], told["refused"]) == ("SUCCEEDED", RUN, False)
    assert kubeflow.names("experiments") == ["nightly"]
    assert lines[0].startswith(f"Run {RUN} submitted: {kubeflow.address}/#/runs/details/")
    assert len(lines) == 2 + 13
    (run,) = kubeflow.things["runs"].values()
    assert run["runtime_config"]["parameters"] == {
        "data": "/clickrank/tables",
        "root": "/clickrank",
        "run_id": RUN,
        "overrides": [],
    }


def test_a_failed_node_is_an_error_and_a_refused_model_has_its_own_exit_code(kubeflow, command, seen):
    kubeflow.script = Script(fails="trainer", message="error: out of memory\nclickrank node Trainer ended with exit code 1")
    assert command("--wait").wait(300) == 1
    told, lines = seen()
    assert told["exit_code"] == 1
    assert lines[-1] == f"error: {told['error']}"
    assert lines[-2] == "  clickrank node Trainer ended with exit code 1"
    kubeflow.script = Script(fails=step_name(NODES[-1]), message="clickrank node Pusher ended with exit code 4")
    assert command("--wait").wait(300) == 4
    told, lines = seen()
    assert (told["state"], told["refused"]) == ("FAILED", True)
    assert lines[0].startswith(f"Run {RUN} is there already: ")


def test_ctrl_c_leaves_the_run_alone_and_says_so(kubeflow, command, seen, tmp_path):
    kubeflow.script = Script(pace=0)
    process = command("--wait")
    until(lambda: f"Run {RUN} submitted" in (tmp_path / "err").read_text(), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    told, lines = seen()
    url = f"{kubeflow.address}/#/runs/details/{next(iter(kubeflow.things['runs']))}"
    assert lines[-1] == f"error: stopped by SIGINT; the run goes on: {url}; the same command with --run-id {RUN} follows it"
    assert told["exit_code"] == 130
    assert not any(call.startswith(("DELETE", "PATCH")) or ":" in call for call in kubeflow.calls)


def test_one_that_is_killed_while_the_run_is_made_does_not_make_a_second(kubeflow, command, seen):
    kubeflow.faults = {CREATE_RUN: Fault("slow", seconds=3)}
    process = command()
    until(lambda: len(kubeflow.calls) > CREATE_RUN, process)
    process.kill()
    process.wait(60)
    until(lambda: kubeflow.things["runs"], None)
    assert command().wait(300) == 0
    assert seen()[0]["state"] == "there"
    assert len(kubeflow.things["runs"]) == 1


def until(condition, process):
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.05)
