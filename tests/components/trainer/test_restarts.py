"""Real worker processes, killed and stopped in the middle of an epoch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.launch import ROOT
from tests.components.trainer.test_run import make_job

pytestmark = pytest.mark.slow  # each test starts several processes that import TensorFlow

SGD = {"name": "sgd", "learning_rate": 0.1}
TRAINER = {"num_epochs": 20, "save_steps": 10, "keep": 3, "deep_optimizer": SGD, "export": "latest"}
PROGRAM = """
import json, signal, sys
from types import SimpleNamespace
from components.trainer.run import run_fn
from schemas import interrupts
from schemas.errors import ClickrankError
signal.signal(signal.SIGTERM, lambda *_: interrupts.request_stop())
try:
    run_fn(SimpleNamespace(**json.loads(sys.argv[1])))
except ClickrankError as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(error.exit_code)
"""


def start(args, tf_config=""):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_USE_LEGACY_KERAS": "1", "TF_CONFIG": tf_config}
    command = [sys.executable, "-c", PROGRAM, json.dumps(vars(args))]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoint(folder: Path, process, after=0):
    """Waits until there is a full checkpoint of a later step than `after`; returns its step."""
    while process.poll() is None:
        steps = [int(path.stem.removeprefix("step-")) for path in folder.glob("*/step-*.index")]
        if steps and max(steps) > after:
            return max(steps)
        time.sleep(0.02)
    pytest.fail(f"ended before it could be stopped: {process.communicate()}")


def workers_of(process):
    """The worker processes, the chief first."""
    found = {}
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        for pid in map(int, (thread / "children").read_text().split()):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            config = next((e.partition(b"=")[2] for e in environment if e.startswith(b"TF_CONFIG=")), None)
            if config:
                found[json.loads(config)["task"]["index"]] = pid
    return [found[i] for i in sorted(found)]


def served_weights(args):
    model = make_job(args).build_model()
    reader = tf.train.load_checkpoint(f"{args.serving_model_dir}/variables/variables")
    return [reader.get_tensor(f"model_variables/{i}/.ATTRIBUTES/VARIABLE_VALUE") for i in range(len(model.variables))]


def steps(args):
    with open(f"{args.model_run_dir}/history.jsonl") as file:
        return [json.loads(line)["step"] for line in file]


@pytest.fixture(scope="module")
def undisturbed(make_fn_args, tmp_path_factory):
    """What one process that nobody disturbs comes to."""
    args = make_fn_args(tmp_path_factory.mktemp("undisturbed"), trainer=TRAINER)
    process = start(args)
    assert process.wait() == 0, process.communicate()
    return args


@pytest.mark.parametrize("victim", [0, 1], ids=["chief", "worker"])
def test_a_worker_is_killed_in_mid_epoch(make_fn_args, tmp_path, undisturbed, victim):
    """The group starts again from the last checkpoint: as many steps, on the same rows, to the same weights."""
    args = make_fn_args(tmp_path, trainer={**TRAINER, "strategy": "multi_worker", "workers": 2})
    process = start(args)
    wait_for_checkpoint(tmp_path / "checkpoints", process)
    os.kill(workers_of(process)[victim], signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err[-3000:]
    assert "restart 1 of 3" in err
    assert steps(args) == steps(undisturbed)
    for got, expected in zip(served_weights(args), served_weights(undisturbed), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_group_that_is_killed_too_often_gives_up(make_fn_args, tmp_path):
    args = make_fn_args(tmp_path, trainer={**TRAINER, "strategy": "multi_worker", "workers": 2, "max_restarts": 0})
    process = start(args)
    wait_for_checkpoint(tmp_path / "checkpoints", process)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    out, err = process.communicate()
    assert (process.returncode, out.partition(":")[0]) == (75, "TransientError"), err[-3000:]
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_training_that_is_told_to_end_saves_and_goes_on(make_fn_args, tmp_path, undisturbed, workers):
    more = {"strategy": "multi_worker", "workers": 2} if workers == 2 else {}
    args = make_fn_args(tmp_path, trainer={**TRAINER, **more, "save_steps": 10})
    process = start(args)
    saved = wait_for_checkpoint(tmp_path / "checkpoints", process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 75, err[-3000:]
    assert "run again to go on" in out
    newest = max(int(path.stem.removeprefix("step-")) for path in (tmp_path / "checkpoints").glob("*/step-*.index"))
    assert newest >= saved
    again = start(args)
    assert again.wait() == 0, again.communicate()
    assert steps(args) == steps(undisturbed)
    for got, expected in zip(served_weights(args), served_weights(undisturbed), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_another_number_of_workers_goes_on_with_the_same_training(make_fn_args, tmp_path, undisturbed):
    args = make_fn_args(tmp_path, trainer=TRAINER)
    process = start(args)
    wait_for_checkpoint(tmp_path / "checkpoints", process)
    process.kill()
    process.wait()
    more = make_fn_args(tmp_path, trainer={**TRAINER, "strategy": "multi_worker", "workers": 2})
    again = start(more)
    assert again.wait() == 0, again.communicate()
    for got, expected in zip(served_weights(more), served_weights(undisturbed), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_only_the_chief_writes(make_fn_args, tmp_path):
    args = make_fn_args(tmp_path, trainer={**TRAINER, "num_epochs": 1, "strategy": "multi_worker", "workers": 2})
    assert start(args).wait() == 0
    assert len(list((tmp_path / "run").glob("events.*"))) == 1
    assert sorted(p.name for p in (tmp_path / "run" / "workers").iterdir()) == ["worker-0.log", "worker-1.log"]
    assert {p.name for p in tmp_path.iterdir()} <= {"run", "serving", "checkpoints", "replay.json"}
