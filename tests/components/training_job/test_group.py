import pytest

from components.training_job.group import Group, PodState, end_of, error_of, pod_state
from components.training_job.members import Member
from schemas.errors import ClickrankError, ConfigError, InputDataError, RemoteError, TransientError

NAMES = ("worker-0", "worker-1")
META = {"name": "job-worker-0", "uid": "u"}


def pod(name, uid="a", phase="Running", **more):
    return PodState(name, f"job-{name}", uid, phase, **more)


def running(**uids):
    return {name.replace("_", "-"): pod(name.replace("_", "-"), uid) for name, uid in uids.items()}


def ready(**uids):
    return {name.replace("_", "-"): Member(uid, ready=True) for name, uid in uids.items()}


def container(state):
    """Beside one that the cluster has added."""
    others = {"name": "proxy", "state": {"terminated": {"exitCode": 1, "reason": "Proxy"}}}
    return {"containerStatuses": [others, {"name": "tensorflow", "state": state}]}


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no GPU"}


@pytest.mark.parametrize(
    ("status", "phase", "code", "why"),
    [
        ({}, "Unknown", None, ""),
        ({"phase": "Pending"}, "Pending", None, ""),
        ({"phase": "Pending", "conditions": [UNSCHEDULED]}, "Pending", None, "Unschedulable: 0/3 nodes: no GPU"),
        (
            {"phase": "Pending", **container({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image x"}})},
            "Pending",
            None,
            "ImagePullBackOff: Back-off pulling image x",
        ),
        ({"phase": "Pending", **container({"waiting": {"reason": "ContainerCreating"}})}, "Pending", None, "ContainerCreating"),
        ({"phase": "Running", **container({"running": {}})}, "Running", None, ""),
        ({"phase": "Succeeded", **container({"terminated": {"exitCode": 0}})}, "Succeeded", 0, ""),
        (
            {"phase": "Failed", **container({"terminated": {"exitCode": 3, "reason": "Error", "message": "one\ntwo\n\n"}})},
            "Failed",
            3,
            "Error: two",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Failed", None, "Evicted: low on memory"),
    ],
)
def test_what_a_pods_object_says(status, phase, code, why):
    assert pod_state({"metadata": META, "status": status}, "worker-0", "tensorflow") == PodState(
        "worker-0", "job-worker-0", "u", phase, code, why
    )


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (1, ClickrankError, "training worker-0 failed with exit code 1; Error: last line"),
        (2, ConfigError, "exit code 2"),
        (3, InputDataError, "exit code 3"),
        (5, RemoteError, "exit code 5"),
        (9, ClickrankError, "exit code 9"),
        (137, TransientError, "training worker-0 was killed by SIGKILL; Error: last line"),
        (138, TransientError, "training worker-0 ended to begin again; Error: last line"),
        (139, TransientError, "SIGSEGV"),
        (255, TransientError, "255"),
        (None, TransientError, "training worker-0 was lost; Error: last line"),
    ],
)
def test_what_a_failed_pod_means(code, kind, message):
    error = error_of(pod("worker-0", phase="Failed", exit_code=code, why="Error: last line"))
    assert type(error) is kind
    assert message in str(error)


@pytest.mark.parametrize(
    ("phase", "code", "for_good"),
    [("Failed", 3, True), ("Failed", 127, True), ("Failed", 128, False), ("Failed", None, False), ("Running", None, False)],
)
def test_who_is_not_made_anew(phase, code, for_good):
    assert pod("worker-0", phase=phase, exit_code=code).has_failed_for_good == for_good


def test_all_train_when_all_have_said_so_themselves():
    group = Group(NAMES, since=0.0)
    for pods, said in (
        ({}, {}),
        (running(worker_0="a"), ready(worker_0="a")),
        (running(worker_0="a", worker_1="a"), ready(worker_0="a")),
        (running(worker_0="a", worker_1="b"), ready(worker_0="a", worker_1="a")),  # worker-1 has been replaced since
        (running(worker_0="a", worker_1="a"), {**ready(worker_0="a"), "worker-1": Member("a")}),
    ):
        group.update(pods, {}, said, 5.0)
        assert not group.trains
    group.update(running(worker_0="a", worker_1="a"), {}, ready(worker_0="a", worker_1="a"), 6.0)
    assert (group.trains, group.losses) == (True, 0)


def test_a_loss_is_counted_once_however_many_pods_it_takes():
    group = Group(NAMES, since=0.0)
    before, after = {"worker_0": "a0", "worker_1": "a1"}, {"worker_0": "b0", "worker_1": "b1"}
    group.update(running(**before), {}, ready(**before), 1.0)
    dead = {"a1": pod("worker-1", "a1", "Failed", exit_code=137, why="OOMKilled")}
    group.update(running(worker_0="a0", worker_1="b1"), dead, ready(**before), 2.0)
    assert (group.trains, group.losses, group.since) == (False, 1, 2.0)
    assert group.lost == "training worker-1 was killed by SIGKILL; OOMKilled"
    group.update(running(**after), dead, ready(**before), 3.0)
    assert (group.trains, group.losses, group.since) == (False, 1, 2.0)
    group.update(running(**after), dead, ready(**after), 4.0)
    assert (group.trains, group.losses) == (True, 1)
    group.update(running(worker_0="b0"), dead, ready(**after), 5.0)
    assert (group.trains, group.losses, group.lost) == (False, 2, "training worker-1 was lost")


def test_a_pod_that_has_failed_is_lost_before_another_is_in_its_place():
    group = Group(NAMES, since=0.0)
    uids = {"worker_0": "a0", "worker_1": "a1"}
    group.update(running(**uids), {}, ready(**uids), 1.0)
    group.update(running(**uids), {"a0": pod("worker-0", "a0", "Failed", exit_code=138)}, ready(**uids), 2.0)
    assert (group.trains, group.losses) == (False, 1)


def test_the_cause_of_a_loss_is_not_one_who_ended_because_of_it():
    group = Group(NAMES, since=0.0)
    uids = {"worker_0": "a0", "worker_1": "a1"}
    group.update(running(**uids), {}, ready(**uids), 1.0)
    codes = {"worker-0": 138, "worker-1": 137}
    failed = {f"a{name[-1]}": pod(name, f"a{name[-1]}", "Failed", exit_code=code) for name, code in codes.items()}
    group.update(running(worker_0="b0", worker_1="b1"), failed, {}, 2.0)
    assert group.lost.startswith("training worker-1 was killed by SIGKILL")


def test_what_is_in_the_way_is_said():
    group = Group(("worker-0", "worker-1", "worker-2", "worker-3"), since=0.0)
    pods = {
        "worker-0": pod("worker-0"),
        "worker-1": pod("worker-1", phase="Pending", why="Unschedulable: no GPU"),
        **running(worker_3="a"),
    }
    assert group.waits_for(pods, ready(worker_0="a")) == (
        "worker-1 is pending, Unschedulable: no GPU; worker-2 has no pod; worker-3 has not met the others"
    )


def condition(kind, status="True", **more):
    return {"type": kind, "status": status, **more}


@pytest.mark.parametrize(
    ("conditions", "end"),
    [
        ([], None),
        ([condition("Created"), condition("Running")], None),
        ([condition("Running"), condition("Succeeded", reason="JobSucceeded", message="done")], (True, "JobSucceeded: done")),
        ([condition("Succeeded", "False"), condition("Failed", message="two\nlines")], (False, "two lines")),
        ([condition("Complete")], None),
    ],
)
def test_how_a_job_ended(conditions, end):
    assert end_of({"status": {"conditions": conditions}}, "Succeeded") == end
    assert end_of({}, "Succeeded") is None
