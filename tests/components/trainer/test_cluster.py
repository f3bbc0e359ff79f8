import json
import os
import subprocess
import sys
import time

import pytest

from components.trainer.cluster import Cluster, local_cluster, members, parse_tf_config, tf_config_from_env
from components.trainer.launch import ROOT, launch
from schemas.errors import ClickrankError, ConfigError, InputDataError, TransientError

TWO = {"worker": ["a:1", "b:2"]}
SERVERS = {"chief": ["c:3"], **TWO, "ps": ["p:4", "q:5"]}


def config(cluster, kind="worker", index=0):
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (config(TWO, index=1), Cluster(("a:1", "b:2"), 1)),
        (config({"chief": ["c:3"], **TWO}, "chief"), Cluster(("c:3", "a:1", "b:2"), 0)),
        (config({"chief": ["c:3"], **TWO}, "worker", 1), Cluster(("c:3", "a:1", "b:2"), 2)),
        (config({"worker": ["pod-0.svc:2222"]}), Cluster(("pod-0.svc:2222",), 0)),
        (config(SERVERS, "chief"), Cluster(("c:3", "a:1", "b:2"), 0, ("p:4", "q:5"))),
        (config(SERVERS, "worker", 1), Cluster(("c:3", "a:1", "b:2"), 2, ("p:4", "q:5"))),
        (config(SERVERS, "ps", 1), Cluster(("c:3", "a:1", "b:2"), 4, ("p:4", "q:5"))),
    ],
)
def test_tf_config(text, expected):
    assert parse_tf_config(text) == expected


def test_tf_config_round_trip():
    cluster = Cluster(("a:1", "b:2"), 1)
    assert parse_tf_config(cluster.tf_config()) == cluster
    assert not cluster.is_chief


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"cluster": TWO}),
        json.dumps({"cluster": 3, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": "first"}}),
        config(TWO, index=2),
        config(TWO, index=-1),
        config(TWO, "chief"),
        config(TWO, "ps"),
        config({**TWO, "ps": ["p:1"]}),
        config({"chief": ["c:3"], "ps": ["p:1"]}, "chief"),
        config({**SERVERS, "ps": ["a:1"]}),
        config({**SERVERS, "ps": ["p"]}),
        config(SERVERS, "ps", 2),
        config({**SERVERS, "evaluator": ["e:1"]}),
        config({**TWO, "chief": ["c:1", "d:1"]}),
        config({"worker": ["a:1", "a:1"]}),
        config({"worker": ["a"]}),
        config({"worker": ["a:http"]}),
        config({"worker": [":80"]}),
        config({"worker": ["a:70000"]}),
        config({"worker": []}),
    ],
)
def test_malformed_tf_config(text):
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        parse_tf_config(text)


TRAINJOB = {"CLICKRANK_JOBSET": "job", "CLICKRANK_NODES": "4", "CLICKRANK_PARAMETER_SERVERS": "0", "JOB_COMPLETION_INDEX": "2"}
HOSTS = tuple(f"job-node-0-{i}.job:2222" for i in range(4))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TF_CONFIG": config(TWO, index=1)}, Cluster(("a:1", "b:2"), 1)),
        ({"TF_CONFIG": config(TWO, index=1), **TRAINJOB}, Cluster(("a:1", "b:2"), 1)),
        (TRAINJOB, Cluster(HOSTS, 2)),
        ({**TRAINJOB, "CLICKRANK_PARAMETER_SERVERS": "1", "JOB_COMPLETION_INDEX": "0"}, Cluster(HOSTS[:3], 0, HOSTS[3:])),
        ({**TRAINJOB, "CLICKRANK_PARAMETER_SERVERS": "2", "JOB_COMPLETION_INDEX": "3"}, Cluster(HOSTS[:2], 3, HOSTS[2:])),
        ({**TRAINJOB, "CLICKRANK_NODES": "1", "JOB_COMPLETION_INDEX": "0"}, Cluster(HOSTS[:1], 0)),
    ],
)
def test_tf_config_from_the_environment_of_a_pod(environment, expected):
    assert parse_tf_config(tf_config_from_env(environment)) == expected


def test_a_pod_on_its_own_has_no_tf_config():
    assert tf_config_from_env({"TF_CONFIG": "", "JOB_COMPLETION_INDEX": "0"}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JOB_COMPLETION_INDEX": None}, "a pod of a TrainJob needs the numbers JOB_COMPLETION_INDEX, .*: 'JOB_COMPLETION_INDEX'"),
        ({"CLICKRANK_NODES": "many"}, "invalid literal"),
        ({"JOB_COMPLETION_INDEX": "4"}, "Received: 4, 0, 4"),
        ({"CLICKRANK_PARAMETER_SERVERS": "4"}, "Received: 2, 4, 4"),
        ({"JOB_COMPLETION_INDEX": "-1"}, "Received: -1, 0, 4"),
    ],
)
def test_a_pod_of_a_trainjob_that_is_told_nonsense(change, message):
    environment = {key: value for key, value in {**TRAINJOB, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        tf_config_from_env(environment)


@pytest.mark.parametrize(("workers", "servers"), [(1, 0), (2, 0), (2, 1), (3, 2)])
def test_the_names_of_members_are_those_of_their_clusters(workers, servers):
    assert members(workers, servers) == tuple(cluster.name for cluster in local_cluster(workers, servers))


def test_local_cluster_has_distinct_ports():
    clusters = local_cluster(4)
    assert [c.index for c in clusters] == [0, 1, 2, 3]
    assert len(set(clusters[0].workers)) == 4
    assert all(parse_tf_config(c.tf_config()) == c for c in clusters)


def test_local_cluster_with_parameter_servers():
    clusters = local_cluster(2, parameter_servers=1)
    assert [c.name for c in clusters] == ["chief-0", "worker-0", "worker-1", "ps-0"]
    assert [c.is_chief for c in clusters] == [True, False, False, False]
    assert len({*clusters[0].workers, *clusters[0].servers}) == 4
    assert all(parse_tf_config(c.tf_config()) == c for c in clusters)


HEAD = """import json, os, pathlib, sys, time
i = json.loads(os.environ['TF_CONFIG'])['task']['index']
d = pathlib.Path(sys.argv[1])
"""


def launch_python(code, work_dir, workers=2, timeout=60, **more):
    launch([sys.executable, "-c", HEAD + code, str(work_dir)], local_cluster(workers), work_dir, timeout, **more)


def pids_are_gone(work_dir):
    def alive(pid):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    pids = [int(p.read_text()) for p in work_dir.glob("pid-*")]
    return pids and not any(alive(pid) for pid in pids)


SLEEP = "(d / f'pid-{i}').write_text(str(os.getpid())); time.sleep(120)"


def test_launch_ends_when_all_have(tmp_path):
    polls = []
    launch_python("(d / f'worker-{i}.ready').touch(); print('hello', i)", tmp_path, on_poll=lambda: polls.append(1))
    assert (tmp_path / "worker-1.log").read_text() == "hello 1\n"
    assert polls


def test_a_failing_worker_ends_the_others_and_its_last_lines_are_told(tmp_path):
    code = f"""
if i == 1:
    while not (d / 'pid-0').exists(): time.sleep(0.01)
    print('first'); print('out of luck'); sys.exit(9)
{SLEEP}"""
    with pytest.raises(ClickrankError, match=r"worker 1 failed with exit code 9; its last lines: first \| out of luck"):
        launch_python(code, tmp_path)
    assert pids_are_gone(tmp_path)


def test_a_killed_worker_is_transient(tmp_path):
    with pytest.raises(TransientError, match="worker 0 was killed by SIGKILL"):
        launch_python(f"if i == 0: os.kill(os.getpid(), 9)\n{SLEEP}", tmp_path)


def test_the_error_that_a_worker_left_is_raised(tmp_path):
    code = "(d / f'worker-{i}.error').write_text(json.dumps(['InputDataError', 'a.gz: cut off', ''])); sys.exit(3)"
    with pytest.raises(InputDataError, match="cut off"):
        launch_python(code, tmp_path)


ROLES = """
kind = json.loads(os.environ['TF_CONFIG'])['task']['type']
def touch(name): (d / name).touch()
def wait(name):
    while not (d / name).exists(): time.sleep(0.01)
"""


def launch_servers(code, work_dir, **more):
    launch([sys.executable, "-c", HEAD + ROLES + code, str(work_dir)], local_cluster(2, 1), work_dir, 60, **more)


def test_the_chief_of_parameter_servers_ends_the_others(tmp_path):
    code = """
if kind == 'chief': wait('pid-ps'); sys.exit(0)
if kind == 'ps': (d / 'pid-ps').write_text(str(os.getpid()))
time.sleep(120)"""
    launch_servers(code, tmp_path)
    assert pids_are_gone(tmp_path)


def test_a_worker_of_parameter_servers_is_replaced_so_many_times(tmp_path):
    code = """
if kind == 'chief': wait('third'); sys.exit(0)
if kind == 'worker' and i == 1:
    for name in ('first', 'second'):
        if not (d / name).exists():
            touch(name)
            os.kill(os.getpid(), 9)
    touch('third')
time.sleep(120)"""
    launch_servers(code, tmp_path, max_replacements=2)
    for name in ("first", "second", "third"):
        (tmp_path / name).unlink()
    with pytest.raises(TransientError, match="training worker 1 was killed by SIGKILL"):
        launch_servers(code, tmp_path, max_replacements=1)


def test_a_parameter_server_is_not_replaced(tmp_path):
    with pytest.raises(TransientError, match="training ps 0 was killed by SIGKILL"):
        launch_servers("if kind == 'ps': os.kill(os.getpid(), 9)\ntime.sleep(120)", tmp_path, max_replacements=2)


def test_start_timeout(tmp_path):
    code = f"if i == 0: (d / 'worker-0.ready').touch()\n{SLEEP}"
    start = time.monotonic()
    with pytest.raises(TransientError, match="only 1 of 2 workers were ready"):
        launch_python(code, tmp_path, timeout=1.5)
    assert time.monotonic() - start < 30
    assert pids_are_gone(tmp_path)


def test_no_timeout_after_all_are_ready(tmp_path):
    launch_python("(d / f'worker-{i}.ready').touch(); time.sleep(2.5)", tmp_path, timeout=1.5)


def test_a_worker_ends_with_its_parent():
    code = "import time; from schemas import interrupts; interrupts.die_with_parent(); print('up', flush=True); time.sleep(120)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert process.stdout.readline() == b"up\n"
        assert process.poll() is None
        process.stdin.close()  # what the system does when the parent is gone
        assert process.wait(timeout=30) == 1
    finally:
        process.kill()
        process.stdout.close()
