"""What runs in a pod, with a stand-in for `clickrank node` that says what it was given."""

import inspect
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipeline.kubeflow.command import run_node

NODE = """
import json, pathlib, signal, sys, time
here = pathlib.Path(__file__).parents[1]
came = []
signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
signal.signal(signal.SIGINT, lambda number, _: came.append(number))
(here / "given.json").write_text(json.dumps(sys.argv[1:]))
(here / "ready").touch()
wait = time.monotonic() + {seconds}
while time.monotonic() < wait and not came:
    time.sleep(0.02)
time.sleep(0.5 if came else 0)  # it saves itself
(here / "came.json").write_text(json.dumps(came))
sys.exit({code} if not came else 75)
"""


RUN_ID = "20260101-120000-a"
SETTINGS = ["--set", "a.b=1", "--set", "c.d=2"]


def start(folder, *, seconds=0, code=0, run_id="", overrides=()):
    """Runs the function from its source, as Kubeflow does, in a group of processes of its own."""
    (folder / "pipeline").mkdir()
    (folder / "pipeline/__init__.py").touch()
    (folder / "pipeline/cli.py").write_text(NODE.format(seconds=seconds, code=code))
    given = ("Gate", "/data", "/root", run_id, "kubeflows-id", ["a.b=1"], list(overrides))
    program = f"{inspect.getsource(run_node)}\nrun_node(*{given!r})"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("run_id", "named"), [("", ["--job", "kubeflows-id"]), ("20260101-120000-a", ["--run-id", "20260101-120000-a"])]
)
def test_the_node_gets_what_the_step_was_given(tmp_path, run_id, named):
    process = start(tmp_path, run_id=run_id, overrides=["c.d=2"])
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    given = json.loads((tmp_path / "given.json").read_text())
    assert given == ["node", "Gate", "/data", "--root", "/root", "--verbose", *named, *SETTINGS]


def test_a_step_ends_as_its_node_ends_and_says_so(tmp_path):
    process = start(tmp_path, code=4)
    assert process.communicate()[1] == "clickrank node Gate ended with exit code 4\n"
    assert process.returncode == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to the step alone", "to all of its group"])
def test_a_node_that_is_told_to_end_is_told_once_and_waited_for(tmp_path, number, send):
    process = start(tmp_path, seconds=60)
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    send(process.pid, number)
    assert process.communicate(timeout=60)[1] == "clickrank node Gate ended with exit code 75\n"
    assert process.returncode == 75
    assert json.loads((tmp_path / "came.json").read_text()) == [number]
