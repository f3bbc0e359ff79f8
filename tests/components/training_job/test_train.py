"""What the Trainer does with a job: real HTTP, a stand-in for the operator, and pods that are small programs without TensorFlow."""

import json
import logging
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from components.trainer.work_dir import read_trained
from components.training_job import train
from components.training_job.api import Api, UnreachableError
from components.training_job.spec import plan
from components.training_job.train import Follower
from schemas.config import TrainerConfig
from schemas.errors import ClickrankError, ConfigError, InputDataError, RemoteError, TransientError
from tests.components.training_job.cluster import Fault
from tests.components.training_job.jobs import make_config, make_job
from tests.components.training_job.operator import Operator

# A pod: `name`, `attempt` (from 0), and what it can do.
HEAD = """
import json, os, signal, sys, time
from pathlib import Path
from components.trainer.work_dir import write_error
from components.training_job.members import Meeting
from schemas.errors import *
d = Path(sys.argv[1])
task = json.loads(os.environ['TF_CONFIG'])['task']
name, uid = f"{task['type']}-{task['index']}", os.environ['CLICKRANK_POD_UID']
attempt = len(list(d.glob(f'{name}.try-*')))
(d / f'{name}.try-{attempt}').touch()
meeting = Meeting(d, ('worker-0', 'worker-1'), name, uid, has_chief=False)
def say(text): print(text, flush=True)
def begin():
    meeting.meet(lambda: False)
    meeting.is_ready()
    say(f'{name} begins, try {attempt}')
def fail(error, code):
    write_error(d, name, error, uid)
    say(str(error))
    os._exit(code)
def wait():
    while not meeting.trouble():
        if (d / 'trained.json').exists(): os._exit(0)
        time.sleep(0.05)
    os._exit(138)
def done():
    (d / 'run').mkdir(exist_ok=True)
    (d / 'run' / 'history.jsonl').write_text('{"epoch": 1}\\n')
    (d / 'trained.json').write_text('{"best": "best-7", "latest": "step-9"}')
    os._exit(0)
"""
GOOD = """
begin()
if name == 'worker-0': time.sleep(1); done()
wait()"""
LONG = """
begin()
if name == 'worker-0':
    signal.signal(signal.SIGTERM, lambda *_: fail(TransientError('saved at step 5; run again to go on from there'), 138))
    time.sleep(60)
wait()"""


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(train, "_POLL_S", 1)
    monkeypatch.setattr(train, "_SEEN_LATE_S", 1.0)


@pytest.fixture
def make(tmp_path, cluster, caplog):
    """A function that makes the Follower of a job that trains in `tmp_path`."""
    caplog.set_level(logging.INFO)
    stopped = threading.Event()

    def make_follower(max_restarts=3, start_timeout_s=30, patience_s=2.0, **keys):
        trainer = TrainerConfig(strategy="multi_worker", workers=2, max_restarts=max_restarts, start_timeout_s=start_timeout_s)
        config = make_config(**{"volumes": [{"claim": "root", "mount_path": str(tmp_path)}], "grace_s": 3, **keys})
        spec = plan(config, trainer, str(tmp_path / "checkpoints" / "0123"))
        job = make_job(str(tmp_path), trainer).model_copy(update={"run_dir": f"{spec.work_dir}/run"})
        kind = train.KINDS[config.kind]
        return Follower(Api(kind, patience_s=patience_s, pause_s=0.05), kind, spec, job, stopped.is_set)

    make_follower.stopped, make_follower.folder = stopped, tmp_path / "checkpoints" / "0123" / "job"
    make_follower.log = lambda: [record.getMessage() for record in caplog.records]
    return make_follower


def operating(cluster, code, **more):
    return Operator(cluster, lambda words: [sys.executable, "-c", HEAD + code, words[-1]], **more).running()


def job_of(cluster):
    (job,) = cluster.jobs.values()
    return job


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(follower):
    follower.begin()
    follower.follow()


def test_a_job_is_made_followed_to_its_end_and_told_of(cluster, make):
    with operating(cluster, GOOD) as operator:
        run(make())
    assert read_trained(make.folder).best == "best-7"
    assert len(operator.started) == 2
    name = job_of(cluster)["metadata"]["name"]
    assert [line for line in make.log() if "begins" in line] == [f"{name}-worker-0: worker-0 begins, try 0"]
    assert 'epoch 1/2: {"epoch": 1}' in make.log()
    make().delete()
    assert job_of(cluster)["metadata"]["deletionTimestamp"]


def test_another_try_goes_on_with_the_job_that_is_there(cluster, make):
    with operating(cluster, LONG.replace("time.sleep(60)", "time.sleep(3); done()")) as operator:
        make().begin()
        wait_for(lambda: len(operator.containers) == 2)
        run(make())  # the first has died
    assert len(operator.started) == 2
    assert cluster.calls.count(("create", "tfjobs")) == 1
    assert any("there already; going on with it" in line for line in make.log())


def test_another_try_finds_what_a_job_has_come_to(cluster, make):
    with operating(cluster, GOOD) as operator:
        run(make())
        run(make())
    assert len(operator.started) == 2


def test_a_create_whose_answer_is_lost_makes_one_job(cluster, make):
    cluster.faults.append(Fault("create", "tfjobs", 0, late=True))
    with operating(cluster, GOOD) as operator:
        run(make())
    assert len(operator.started) == 2


def test_a_job_that_would_train_otherwise_is_replaced_when_its_pods_are_gone(cluster, make):
    slow = """
begin()
if name == 'worker-0':
    def end(*_):
        time.sleep(1.5)
        (d.parent / 'ended').write_text(str(time.time()))
        os._exit(138)
    signal.signal(signal.SIGTERM, end)
    time.sleep(60)
wait()"""
    with operating(cluster, slow) as operator:
        make().begin()
        wait_for(lambda: len(list(make.folder.glob("*.try-*"))) == 2)
        time.sleep(1)
        follower = make(memory_limit="8Gi")
        follower.begin()
        assert (make.folder.parent / "ended").exists()
        wait_for(lambda: len(list(make.folder.glob("*.try-0"))) == 2)
        assert len(operator.started) == 4
        memory = job_of(cluster)["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["resources"]["limits"][
            "memory"
        ]
    assert memory == "8Gi"
    assert float((make.folder.parent / "ended").read_text()) < min(p.stat().st_mtime for p in make.folder.glob("*.try-0"))


def test_a_job_whose_folder_was_cleared_is_replaced(cluster, make):
    make().begin()
    uid = job_of(cluster)["metadata"]["uid"]
    for file in make.folder.iterdir():
        file.unlink()
    with operating(cluster, GOOD):
        run(make())
    assert job_of(cluster)["metadata"]["uid"] != uid


def test_a_job_that_has_failed_is_replaced(cluster, make):
    with operating(cluster, "fail(InputDataError('a.gz: cut off'), 3) if not (d.parent / 'again').exists() else None" + GOOD):
        with pytest.raises(InputDataError):
            run(make())
        (make.folder.parent / "again").touch()
        run(make())


def test_a_job_of_somebody_else_is_left_alone(cluster, make):
    follower = make()
    follower.begin()
    job_of(cluster)["metadata"]["annotations"]["clickrank/folder"] = "other/place"
    with pytest.raises(ConfigError, match=r"TFJob clickrank-\w+ in namespace clickrank was not made by clickrank; delete it"):
        follower.begin()
    assert "deletionTimestamp" not in job_of(cluster)["metadata"]


def test_a_lost_pod_comes_back_and_all_begin_again(cluster, make):
    code = """
begin()
if name == 'worker-0' and attempt == 1: time.sleep(1); done()
if name == 'worker-1' and attempt == 0: time.sleep(2.5); os.kill(os.getpid(), signal.SIGKILL)
wait()"""
    with operating(cluster, code) as operator:
        run(make(max_restarts=1))
    assert sorted(name[-8:] for name in operator.started) == ["worker-0", "worker-0", "worker-1", "worker-1"]
    assert any("training worker-1 was killed by SIGKILL" in line and "loss 1" in line for line in make.log())
    begins = [line.partition(": ")[2] for line in make.log() if "-worker-0: worker-0 begins" in line]
    assert begins == ["worker-0 begins, try 0", "worker-0 begins, try 1"]


def test_pods_that_are_lost_too_often_are_given_up(cluster, make):
    with operating(cluster, "begin()\nif name == 'worker-1': time.sleep(2.5); os.kill(os.getpid(), 9)\nwait()"):
        with pytest.raises(
            TransientError, match=r"training worker-1 was killed by SIGKILL; .* once more than trainer.max_restarts=0"
        ):
            run(make(max_restarts=0))
        wait_for(lambda: not cluster.jobs)


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("begin()\nif name == 'worker-1': fail(InputDataError('a.gz: cut off'), 3)\nwait()", InputDataError, "a.gz: cut off"),
        ("if name == 'worker-1': fail(ConfigError('no such loss'), 2)\nbegin(); wait()", ConfigError, "no such loss"),
        (
            "begin()\nif name == 'worker-0': fail(ClickrankError('the loss is nan at step 3'), 1)\nwait()",
            ClickrankError,
            "at step 3",
        ),
        ("say('Traceback'); say('ValueError: x'); sys.exit(1)", ClickrankError, "failed with exit code 1; Error: ValueError: x"),
        ("sys.exit(2)", ConfigError, "training worker-. failed with exit code 2"),
    ],
)
def test_what_no_restart_helps_ends_it_with_the_pods_own_error(cluster, make, code, kind, message):
    with operating(cluster, code), pytest.raises(kind, match=message) as caught:
        run(make())
    assert type(caught.value) is kind


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes have a GPU"}],
}
NO_IMAGE = {
    "phase": "Pending",
    "containerStatuses": [{"name": "tensorflow", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}],
}


@pytest.mark.parametrize(
    ("pending", "said"),
    [
        (lambda pod: UNSCHEDULABLE if pod.endswith("-1") else None, "worker-1 is pending, Unschedulable: 0/3 nodes have a GPU"),
        (lambda pod: NO_IMAGE, "worker-0 is pending, ImagePullBackOff: no such image"),
        (lambda pod: {"phase": "Pending"} if pod.endswith("-1") else None, "worker-0 has not met the others; worker-1 is pending$"),
    ],
)
def test_what_does_not_start_in_time_is_given_up_and_said(cluster, make, pending, said):
    with operating(cluster, GOOD, pending=pending):
        with pytest.raises(TransientError, match=rf"not all 2 pods trained within trainer.start_timeout_s=2: .*{said}"):
            run(make(start_timeout_s=2))
        wait_for(lambda: not cluster.jobs)


def test_a_job_that_takes_longer_than_it_may(cluster, make):
    with (
        operating(cluster, LONG),
        pytest.raises(ClickrankError, match=r"took longer than training_job\.active_deadline_s=3") as caught,
    ):
        run(make(active_deadline_s=3))
    assert type(caught.value) is ClickrankError
    assert "deletionTimestamp" not in job_of(cluster)["metadata"]  # it has ended, and may be looked at


def test_a_job_that_somebody_deletes(cluster, make):
    with operating(cluster, LONG) as operator:
        follower = make()
        follower.begin()
        threading.Timer(3, follower.delete).start()
        with pytest.raises(TransientError, match=r"was deleted by somebody|saved at step 5"):
            follower.follow()
    assert len(operator.started) == 2


def test_asked_to_stop_it_deletes_the_job_whose_pods_save_themselves(cluster, make):
    with operating(cluster, LONG):
        follower = make()
        follower.begin()
        threading.Timer(3, make.stopped.set).start()
        with pytest.raises(TransientError, match="saved at step 5; run again to go on from there"):
            follower.follow()
        wait_for(lambda: not cluster.jobs)
        assert not cluster.pods
    assert any(line.endswith("worker-0: saved at step 5; run again to go on from there") for line in make.log())


def test_asked_to_stop_before_anything_began(cluster, make):
    make.stopped.set()
    with (
        operating(cluster, GOOD, pending=lambda pod: {"phase": "Pending"}),
        pytest.raises(TransientError, match="asked to stop; run again"),
    ):
        run(make())


def test_a_cluster_that_cannot_be_reached_keeps_the_job(cluster, make):
    with operating(cluster, LONG):
        follower = make(patience_s=1.0)
        follower.begin()
        cluster.faults.append(Fault("get", "tfjobs", 503, times=10**6))
        with pytest.raises(UnreachableError, match="503"):
            follower.follow()
        assert "deletionTimestamp" not in job_of(cluster)["metadata"]
        cluster.faults.clear()
        follower.delete()


def test_faults_of_the_moment_do_no_harm(cluster, make):
    cluster.faults += [
        *(Fault("get", "tfjobs", status, times=2) for status in (429, 500, 0)),
        *(Fault("watch", "pods", status) for status in (410, 500, 0)),
        Fault("list", "pods", 503, times=2),
        Fault("get", "pods/log", 0, times=1),
        Fault("create", "tfjobs", 502),
    ]
    with operating(cluster, GOOD) as operator:
        run(make(patience_s=20.0))
    assert len(operator.started) == 2
    assert [line.partition(": ")[2] for line in make.log() if "begins" in line] == ["worker-0 begins, try 0"]


def test_a_watch_that_has_expired_lists_anew(cluster, make):
    with operating(cluster, GOOD.replace("time.sleep(1)", "time.sleep(3)")):
        follower = make()
        follower.begin()
        threading.Timer(1.5, lambda: setattr(cluster, "oldest", int(cluster.next_version()))).start()
        follower.follow()
    assert cluster.calls.count(("list", "pods")) >= 3  # before it was made, at first, and anew


def test_a_result_that_is_not_where_it_should_be(cluster, make):
    with (
        operating(cluster, "begin()\nos._exit(0)"),
        pytest.raises(ClickrankError, match=r"do its pods see training_job\.volumes as the Trainer"),
    ):
        run(make())


def test_pods_that_do_not_go_keep_a_new_job_from_beginning(cluster, make, monkeypatch):
    follower = make(start_timeout_s=1)
    cluster.put_pod(
        {
            "metadata": {
                "name": "left",
                "uid": "u",
                "labels": {
                    "training.kubeflow.org/job-name": follower._spec.name,
                    "training.kubeflow.org/replica-type": "worker",
                    "training.kubeflow.org/replica-index": "0",
                },
            },
            "status": {"phase": "Running"},
        },
        "ADDED",
    )
    with pytest.raises(TransientError, match="it or its pods are still there; run again when they are gone"):
        follower.begin()
    assert not cluster.jobs


def test_the_role_allows_what_is_needed_and_no_more(cluster, make):
    """The stand-in goes by it, too: with a right too few, nothing here would work."""
    with operating(cluster, GOOD):
        run(make())
        make().delete()
    resources = {"tfjobs", "pods", "pods/log"}
    allowed = {(verb, name) for rule in cluster.rules for name in resources & set(rule["resources"]) for verb in rule["verbs"]}
    assert set(cluster.calls) == allowed


@pytest.mark.parametrize(("resource", "verb"), [("tfjobs", "create"), ("tfjobs", "get"), ("pods", "list"), ("pods", "watch")])
def test_a_role_with_less_is_told_of(cluster, make, resource, verb):
    for rule in cluster.rules:
        if resource in rule["resources"]:
            rule["verbs"] = [v for v in rule["verbs"] if v != verb]
    with operating(cluster, GOOD), pytest.raises(RemoteError, match="403 "):
        run(make())


def pod_of_trainjob(name, index, status):
    labels = {"jobset.sigs.k8s.io/jobset-name": name, "batch.kubernetes.io/job-completion-index": str(index)}
    meta = {"name": f"{name}-node-0-{index}-x7k2p", "uid": f"u{index}", "labels": labels}
    return {"metadata": meta, "spec": {"containers": [{"name": "node"}]}, "status": status}


def ended(code):
    state = {"terminated": {"exitCode": code, "reason": "Error", "message": "the last line"}}
    return {"phase": "Failed" if code else "Succeeded", "containerStatuses": [{"name": "node", "state": state}]}


@pytest.mark.parametrize(
    ("codes", "condition", "kind", "message"),
    [
        ((0, 0), ("Complete", "", ""), None, ""),
        ((138, 3), ("Failed", "", "FailJobSet"), InputDataError, "training worker-1 failed with exit code 3; Error: the last line"),
        ((138, 137), ("Failed", "", "ReachedMaxRestarts"), TransientError, "worker-. (ended to begin again|was killed by SIGKILL)"),
        (None, ("Failed", "", "DeadlineExceeded"), ClickrankError, r"took longer than training_job\.active_deadline_s=60"),
        (None, ("Failed", "no such runtime", "TrainingRuntimeNotSupported"), TransientError, "NotSupported: no such runtime"),
    ],
)
def test_a_trainjob_is_followed_by_its_conditions_and_pods(cluster, make, codes, condition, kind, message):
    follower = make(kind="trainjob", grace_s=120, active_deadline_s=60)
    follower.begin()
    name = job_of(cluster)["metadata"]["name"]
    (make.folder / "trained.json").write_text('{"best": "best-7", "latest": "step-9"}')
    for index, code in enumerate(codes or ()):
        cluster.put_pod(pod_of_trainjob(name, index, ended(code)), "ADDED")
    cluster.set_condition(name, condition[0], condition[1], condition[2])
    if kind is None:
        return follower.follow()
    with pytest.raises(kind, match=message) as caught:
        follower.follow()
    assert type(caught.value) is kind


def test_the_job_says_what_it_is(cluster, make):
    make().begin()
    job = job_of(cluster)
    assert job["metadata"]["annotations"]["clickrank/folder"] == "root/checkpoints/0123"
    assert len(job["metadata"]["annotations"]["clickrank/content"]) == 64
    told = json.loads((make.folder / "job.json").read_text())
    assert SimpleNamespace(**told).run_dir == str(make.folder / "run")
