"""Real chiefs, workers and parameter servers on this machine; some are killed."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import tensorflow as tf

from components.trainer.cluster import local_cluster
from components.trainer.run import run_fn
from schemas import serving
from tests.components.trainer.test_restarts import start, steps, wait_for_checkpoint
from tests.components.trainer.test_run import history

pytestmark = pytest.mark.slow  # each test starts several processes that import TensorFlow

SERVERS = {"strategy": "parameter_server", "workers": 2}
LONG = {**SERVERS, "num_epochs": 6, "save_steps": 10, "keep": 3}
STEPS = [23, 46, 69, 92, 115, 138]


def processes_of(process):
    """Pids of the processes that `process` has started, by what they are and their number."""
    found = {}
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        for pid in map(int, (thread / "children").read_text().split()):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            config = next((e.partition(b"=")[2] for e in environment if e.startswith(b"TF_CONFIG=")), None)
            if config:
                task = json.loads(config)["task"]
                found[task["type"], task["index"]] = pid
    return found


def are_gone(pids):
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_two_workers_come_near_one_process(make_fn_args, tmp_path, monkeypatch):
    """Measured: train losses 0.455 and 0.463, MAP@12 0.518 and 0.513, log losses 0.510 and 0.501."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, trainer in (("none", {}), ("servers", SERVERS)):
        run_fn(make_fn_args(tmp_path / name, trainer=trainer))  # raises if the export scores otherwise than the model
    one, servers = (history(make_fn_args(tmp_path / name)) for name in ("none", "servers"))
    assert [r["step"] for r in servers] == [r["step"] for r in one] == STEPS[:4]
    assert servers[-1]["train_loss"] < servers[0]["train_loss"] - 0.02
    for key, bound in (("train_loss", 0.04), ("log_loss", 0.04), ("map_at_12", 0.08)):
        assert servers[-1][key] == pytest.approx(one[-1][key], abs=bound)
    serving.check_signatures(tf.saved_model.load(tmp_path / "servers" / "serving").signatures)


def test_what_else_works_there(make_fn_args, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    trainer = {
        **SERVERS,
        "parameter_servers": 2,
        "num_epochs": 3,
        "precision": "bfloat16",
        "gradient_clip_norm": 1.0,
        "losses": [{"name": "softmax"}, {"name": "sigmoid_cross_entropy", "weight": 0.5}],
        "loss_weights": "uncertainty",
        "wide_optimizer": {
            "name": "ftrl",
            "learning_rate": 0.2,
            "schedule": {"kind": "cosine", "warmup_steps": 3, "decay_steps": 20},
        },
    }
    args = make_fn_args(tmp_path, model={"batch_norm": True, "dropout": 0.2}, trainer=trainer)
    run_fn(args)
    records = history(args)
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    # A schedule counts steps, not the workers' updates: at step 23 of 3 + 20 the decay is at its end, up to parts without rows.
    assert records[0]["wide_learning_rate"] < 0.01
    logs = {path.name for path in (tmp_path / "run" / "workers").iterdir()}
    assert logs == {"chief-0.log", "worker-0.log", "worker-1.log", "ps-0.log", "ps-1.log"}


@pytest.mark.parametrize(
    ("victim", "told"),
    [(("worker", 1), "worker 1 was killed by SIGKILL; replacement 1 of 3"), (("ps", 0), "restart 1 of 3")],
    ids=["worker", "ps"],
)
def test_a_process_is_killed_in_mid_epoch(make_fn_args, tmp_path, victim, told):
    args = make_fn_args(tmp_path, trainer=LONG)
    process = start(args)
    wait_for_checkpoint(tmp_path / "checkpoints", process)
    pids = processes_of(process)
    assert len(pids) == 4
    os.kill(pids[victim], signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err[-3000:]
    assert told in err
    assert ("restart 1 of" in err) == (victim[0] == "ps")
    assert steps(args) == STEPS
    assert are_gone(pids.values())


def test_a_training_that_is_told_to_end_saves_and_goes_on(make_fn_args, tmp_path):
    args = make_fn_args(tmp_path, trainer=LONG)
    process = start(args)
    wait_for_checkpoint(tmp_path / "checkpoints", process)
    pids = processes_of(process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 75, err[-3000:]
    assert "run again to go on" in out
    assert are_gone(pids.values())
    again = start(args)
    _, err = again.communicate()
    assert again.returncode == 0, err[-3000:]
    assert steps(args) == STEPS


def test_a_cluster_that_tf_config_names(make_fn_args, tmp_path):
    args = make_fn_args(tmp_path, trainer={**LONG, "num_epochs": 1})
    chief, *others = [start(args, cluster.tf_config()) for cluster in local_cluster(2, parameter_servers=1)]
    try:
        _, err = chief.communicate()
        assert chief.returncode == 0, err[-3000:]
        assert (tmp_path / "serving" / "saved_model.pb").exists()
        assert all(other.poll() is None for other in others)
        before = time.time()
        for other in others:
            other.send_signal(signal.SIGTERM)
        assert [other.wait(timeout=60) for other in others] == [0, 0, 0]
        assert (tmp_path / "serving" / "saved_model.pb").stat().st_mtime < before
    finally:
        for process in (chief, *others):
            process.kill()
            process.communicate()
