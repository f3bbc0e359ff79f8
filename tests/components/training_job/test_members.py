"""Pods as threads: they meet, are lost, come back, and meet again."""

import errno
import itertools
import threading
import time
from pathlib import Path
from random import Random

import pytest

from components.trainer.work_dir import TRAINED, read_error, write_error
from components.training_job import member
from components.training_job.members import Meeting, Member, read_members
from schemas.errors import ClickrankError, TransientError

NAMES = ("worker-0", "worker-1", "worker-2")
SERVERS = ("chief-0", "worker-0", "ps-0")


def never():
    return False


@pytest.fixture(autouse=True)
def none_left():
    """Those that wait for nobody end with their test."""
    yield
    for thread in threading.enumerate():
        if isinstance(thread, Pod):
            thread.stop.set()
            thread.join()


class Pod(threading.Thread):
    """A pod that waits for the others."""

    def __init__(self, folder, name, uid, names=NAMES):
        super().__init__(daemon=True)
        self.meeting = Meeting(folder, names, name, uid, has_chief=names is SERVERS)
        self.stop = threading.Event()
        self.error = None
        self.start()

    def run(self):
        try:
            self.meeting.meet(self.stop.is_set)
        except TransientError as error:
            self.error = error

    def has_met(self, seconds=10.0):
        self.join(seconds)
        return not self.is_alive() and self.error is None


def met(folder, uids, names=NAMES):
    pods = {name: Pod(folder, name, uids[name], names) for name in names}
    assert all(pod.has_met() for pod in pods.values())
    return pods


def uids(names, generation="a"):
    return {name: f"{name}{generation}" for name in names}


def test_nobody_begins_before_all_are_there(tmp_path):
    first, second = (Pod(tmp_path, name, "a") for name in NAMES[:2])
    assert not first.has_met(0.7)
    assert second.is_alive()
    third = Pod(tmp_path, NAMES[2], "a")
    assert all(pod.has_met() for pod in (first, second, third))
    assert [pod.meeting.trouble() for pod in (first, second, third)] == [None] * 3


@pytest.mark.parametrize(("times", "said"), [(1, {"worker-0": Member("a")}), (100, None)])
def test_a_file_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch, times, said):
    (tmp_path / "worker-0.member").write_text('{"uid": "a"}')
    stale, read_text = [OSError(errno.ESTALE, "Stale file handle")] * times, Path.read_text

    def read(file):
        if stale:
            raise stale.pop()
        return read_text(file)

    monkeypatch.setattr(Path, "read_text", read)
    if said is None:
        with pytest.raises(OSError, match="Stale"):
            read_members(tmp_path, NAMES)
    else:
        assert read_members(tmp_path, NAMES) == said


def test_a_pod_whose_disk_is_full_asks_to_begin_again(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "ckpt"))

    def fail(*_):
        raise full

    monkeypatch.setattr(member, "read_job", fail)
    monkeypatch.setattr(member.worker, "prepare", lambda: None)
    assert member.main(tmp_path) == 138
    assert "no space left" in str(read_error(tmp_path, "worker-0"))
    # And where it cannot even say so.
    monkeypatch.setattr(member, "write_error", fail)
    assert member.main(tmp_path) == 138


def test_a_pod_alone_begins_at_once(tmp_path):
    assert Pod(tmp_path, "worker-0", "a", NAMES[:1]).has_met()


def test_ready_is_said_with_the_pods_identity(tmp_path):
    pods = met(tmp_path, uids(NAMES))
    pods["worker-1"].meeting.is_ready()
    found = read_members(tmp_path, NAMES)
    assert found["worker-1"] == Member("worker-1a", uids(NAMES), ready=True)
    assert not found["worker-0"].ready


def test_those_at_work_see_that_one_was_replaced_and_it_waits_until_they_are_back(tmp_path):
    pods = met(tmp_path, uids(NAMES))
    new = Pod(tmp_path, "worker-1", "worker-1b")
    assert not new.has_met(0.7)  # the others still go by the one that is gone
    assert pods["worker-0"].meeting.trouble() == pods["worker-2"].meeting.trouble() == "worker-1 is another pod now"
    others = [Pod(tmp_path, name, f"{name}b") for name in ("worker-0", "worker-2")]
    assert all(pod.has_met() for pod in (new, *others))
    assert [pod.meeting.trouble() for pod in (new, *others)] == [None] * 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("names", [NAMES, SERVERS], ids=["alike", "chief"])
def test_however_they_are_lost_all_meet_in_the_end(tmp_path, names, seed):
    """Pods are replaced at random moments; then, as an operator does, whoever ends because of it is made anew."""
    random, count = Random(seed), itertools.count()

    def pod(name):
        return Pod(tmp_path, name, f"{name}-{next(count)}", names)

    pods = {name: pod(name) for name in names}
    for _ in range(4):
        time.sleep(random.uniform(0.0, 0.5))
        lost = random.choice(names)
        pods[lost].stop.set()
        pods[lost].join()
        pods[lost] = pod(lost)
    deadline = time.monotonic() + 20
    while not all(one.has_met(0.0) and one.meeting.trouble() is None for one in pods.values()):
        assert time.monotonic() < deadline
        for name, one in pods.items():
            if one.has_met(0.0) and one.meeting.trouble():
                pods[name] = pod(name)
        time.sleep(0.1)
    said = read_members(tmp_path, names)
    assert {name: said[name].uid for name in names} == {name: one.meeting._uid for name, one in pods.items()}


def test_what_a_peer_left_ends_the_others_but_not_what_one_before_it_left(tmp_path):
    write_error(tmp_path, "worker-2", ClickrankError("long ago"), "worker-2z")
    pods = met(tmp_path, uids(NAMES))
    assert pods["worker-0"].meeting.trouble() is None
    write_error(tmp_path, "worker-2", ClickrankError("now"), "worker-2a")
    assert pods["worker-0"].meeting.trouble() == "worker-2 has failed"
    assert pods["worker-2"].meeting.trouble() is None  # its own error is its own business


def test_the_chief_of_parameter_servers_waits_for_all_and_they_go_by_it_alone(tmp_path):
    worker = Pod(tmp_path, "worker-0", "a", SERVERS)
    assert not worker.has_met(0.5)
    chief = Pod(tmp_path, "chief-0", "a", SERVERS)
    assert worker.has_met()
    assert not chief.has_met(0.5)
    server = Pod(tmp_path, "ps-0", "a", SERVERS)
    assert chief.has_met()
    assert server.has_met()
    # A worker that is lost and comes back goes on with the same chief, and disturbs nobody.
    assert Pod(tmp_path, "worker-0", "b", SERVERS).has_met()
    assert [pod.meeting.trouble() for pod in (chief, server)] == [None, None]


def test_a_new_chief_waits_for_new_servers(tmp_path):
    pods = met(tmp_path, uids(SERVERS), SERVERS)
    chief = Pod(tmp_path, "chief-0", "b", SERVERS)
    assert not chief.has_met(0.7)
    assert pods["worker-0"].meeting.trouble() == pods["ps-0"].meeting.trouble() == "chief-0 is another pod now"
    servers = [Pod(tmp_path, name, "b", SERVERS) for name in SERVERS[1:]]
    assert all(pod.has_met() for pod in (chief, *servers))


def test_nobody_begins_with_one_that_has_failed(tmp_path):
    met(tmp_path, uids(SERVERS), SERVERS)
    write_error(tmp_path, "chief-0", ClickrankError("now"), "chief-0a")
    worker = Pod(tmp_path, "worker-0", "b", SERVERS)
    assert not worker.has_met(0.7)
    Pod(tmp_path, "chief-0", "b", SERVERS)
    assert worker.has_met()


def test_it_is_over_when_the_chief_has_left_its_result(tmp_path):
    meeting = Meeting(tmp_path, NAMES, "worker-0", "a", has_chief=False)
    assert not meeting.is_over()
    (tmp_path / TRAINED).touch()
    assert meeting.is_over()


def test_a_pod_that_waits_can_be_stopped(tmp_path):
    pod = Pod(tmp_path, "worker-0", "a")
    pod.stop.set()
    pod.join(5)
    assert "asked to stop before it began" in str(pod.error)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_all_replaced_one_after_the_other_meet_again(tmp_path, order):
    met(tmp_path, uids(NAMES))
    new = [Pod(tmp_path, NAMES[i], f"{NAMES[i]}b") for i in order]
    assert all(pod.has_met() for pod in new)
