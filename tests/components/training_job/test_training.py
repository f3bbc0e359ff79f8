"""Real trainings: the TFJob that the Trainer makes, as local processes with the TF_CONFIG that the operator writes."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.launch import ROOT
from components.trainer.run import run_fn
from components.training_job.settings import in_force
from schemas.errors import ClickrankError
from tests.components.trainer.test_restarts import served_weights, steps, wait_for_checkpoint
from tests.components.training_job.jobs import make_config
from tests.components.training_job.operator import Operator

SGD = {"name": "sgd", "learning_rate": 0.1}
SHORT = {"num_epochs": 2, "deep_optimizer": SGD, "export": "latest"}
LONG = {**SHORT, "num_epochs": 20, "save_steps": 10, "keep": 3}
WORKERS = {"strategy": "multi_worker", "workers": 2}
SERVERS = {"strategy": "parameter_server", "workers": 2}


def training_job(folder, **keys):
    return make_config(volumes=[{"claim": "root", "mount_path": f"/{folder.parts[1]}"}], grace_s=60, **keys)


def train(cluster, args, folder, **keys):
    """Trains with the args in a TFJob; returns the pods that were started."""
    with Operator(cluster).running() as operator, in_force(training_job(folder, **keys)):
        run_fn(args)
    assert not [job for job in cluster.jobs.values() if "deletionTimestamp" not in job["metadata"]]
    return [name.partition("-")[2].partition("-")[2] for name in operator.started]


def check_same(args, expected):
    assert steps(args) == steps(expected)
    for got, want in zip(served_weights(args), served_weights(expected), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.fixture(scope="module")
def alone(make_fn_args, tmp_path_factory):
    """What one process comes to."""
    args = make_fn_args(tmp_path_factory.mktemp("alone"), trainer=SHORT)
    run_fn(args)
    return args


def test_two_pods_train_what_one_process_does(cluster, make_fn_args, tmp_path, alone, caplog):
    caplog.set_level(logging.INFO)
    args = make_fn_args(tmp_path, trainer={**SHORT, **WORKERS})
    assert train(cluster, args, tmp_path) == ["worker-0", "worker-1"]
    check_same(args, alone)
    log = [record.getMessage() for record in caplog.records]
    assert any("-worker-0: " in line and "epoch 2, step 46: train_loss" in line for line in log)
    # The node's own outputs, as after a training of its own; of the job nothing is left.
    assert {path.name.split(".")[0] for path in (tmp_path / "run").iterdir()} >= {"events", "history"}
    assert list((tmp_path / "checkpoints").iterdir()) == []
    served = tf.saved_model.load(args.serving_model_dir)
    assert set(served.signatures) == {"serving_default", "rank"}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["none", "mirrored", "multi_worker"])
def test_a_single_pod_trains_what_one_process_does(cluster, make_fn_args, tmp_path, alone, strategy):
    args = make_fn_args(tmp_path, trainer={**SHORT, "strategy": strategy})
    assert train(cluster, args, tmp_path) == ["worker-0"]
    check_same(args, alone)


@pytest.mark.slow
def test_parameter_servers_as_pods(cluster, make_fn_args, tmp_path):
    args = make_fn_args(tmp_path, trainer={**SHORT, **SERVERS})
    assert sorted(train(cluster, args, tmp_path)) == ["chief-0", "ps-0", "worker-0", "worker-1"]
    losses = [json.loads(line)["train_loss"] for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_an_error_of_the_pods_is_raised_here_and_nothing_is_exported(cluster, make_fn_args, tmp_path):
    optimizer = {"name": "sgd", "learning_rate": 1e30}
    args = make_fn_args(tmp_path, trainer={**SHORT, **WORKERS, "deep_optimizer": optimizer})
    with pytest.raises(ClickrankError, match=r"the loss is \S+ at step"):
        train(cluster, args, tmp_path)
    assert not (tmp_path / "serving").exists()


@pytest.fixture(scope="module")
def undisturbed(make_fn_args, tmp_path_factory):
    args = make_fn_args(tmp_path_factory.mktemp("undisturbed"), trainer=LONG)
    run_fn(args)
    return args


def kill(operator, folder, member):
    """Kills a pod's process when there is a checkpoint."""
    while not list((folder / "checkpoints").glob("*/step-*.index")):
        time.sleep(0.02)
    os.kill(operator.pid(next(name for name in operator.containers if name.endswith(member))), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker-0", "worker-1"])
def test_a_pod_is_killed_and_the_job_recovers(cluster, make_fn_args, tmp_path, undisturbed, victim):
    """All begin again from the last checkpoint: as many steps, on the same rows, to the same weights."""
    args = make_fn_args(tmp_path, trainer={**LONG, **WORKERS})
    with Operator(cluster).running() as operator, in_force(training_job(tmp_path)):
        threading.Thread(target=kill, args=(operator, tmp_path, victim), daemon=True).start()
        run_fn(args)
    assert sorted(name[-8:] for name in operator.started) == ["worker-0", "worker-0", "worker-1", "worker-1"]
    check_same(args, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "again"),
    [("worker-1", ["worker-1"]), ("ps-0", ["chief-0", "ps-0", "worker-0", "worker-1"])],
)
def test_a_pod_of_parameter_servers_is_killed_and_the_job_recovers(cluster, make_fn_args, tmp_path, victim, again):
    """A worker comes back alone; with a server, all begin again."""
    args = make_fn_args(tmp_path, trainer={**LONG, **SERVERS, "num_epochs": 6})
    with Operator(cluster).running() as operator, in_force(training_job(tmp_path)):
        threading.Thread(target=kill, args=(operator, tmp_path, victim), daemon=True).start()
        run_fn(args)
    started = [name.partition("-")[2].partition("-")[2] for name in operator.started]
    assert sorted(started[4:]) == again
    assert steps(args) == [23, 46, 69, 92, 115, 138]


NODE = """
import json, signal, sys
from types import SimpleNamespace
from components.trainer.run import run_fn
from components.training_job.settings import in_force
from schemas import interrupts
from schemas.errors import ClickrankError
from schemas.training_job import TrainingJobConfig
signal.signal(signal.SIGTERM, lambda *_: interrupts.request_stop())
try:
    with in_force(TrainingJobConfig(**json.loads(sys.argv[2]))):
        run_fn(SimpleNamespace(**json.loads(sys.argv[1])))
except ClickrankError as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_node_is_ended_and_the_same_again_goes_on(cluster, make_fn_args, tmp_path, undisturbed, number):
    """On SIGTERM it deletes the job, which saves itself; killed, it leaves the job at work, and the next try adopts it."""
    args, config = make_fn_args(tmp_path, trainer={**LONG, **WORKERS}), training_job(tmp_path)
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KUBECONFIG": str(tmp_path / "kubeconfig")}
    with Operator(cluster).running() as operator:
        process = subprocess.Popen(
            [sys.executable, "-c", NODE, json.dumps(vars(args)), config.model_dump_json()],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        saved = wait_for_checkpoint(tmp_path / "checkpoints", process)
        process.send_signal(number)
        out, _ = process.communicate()
        if number == signal.SIGTERM:
            assert process.returncode == 75
            assert "run again to go on from there" in out
            assert not cluster.jobs
            assert not cluster.pods
            assert max(int(p.stem.removeprefix("step-")) for p in (tmp_path / "checkpoints").glob("*/step-*.index")) >= saved
        again = make_fn_args(tmp_path, trainer={**LONG, **WORKERS})
        again.model_run_dir = str(tmp_path / "another" / "run")  # as TFX does
        with in_force(config):
            run_fn(again)
    assert len(operator.started) == (4 if number == signal.SIGTERM else 2)
    check_same(again, undisturbed)
