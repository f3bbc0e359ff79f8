"""Whole runs whose metadata store is a real MariaDB: by `clickrank run`, and by nodes that are processes, two of them at once."""

import json
import subprocess

import pytest

from pipeline.connection import open_store
from pipeline.nodes import nodes_for
from pipeline.paths import RootPaths
from pipeline.store import finished_nodes
from pipeline.synth import generate
from schemas.config import Config
from schemas.metadata import MetadataConfig
from tests.faults.command import PROJECT, TINY, check_failed, check_good, clickrank, command, environment
from tests.mariadb import PASSWORD, running

pytestmark = pytest.mark.slow

RUN_ID = "20260101-120000-mysql"
VARIABLE = MetadataConfig().password_variable
ROUNDS = (
    ("ClickExampleGen", "CuratedSchema"),
    ("StatisticsGen", "LeakAudit"),
    ("ExampleValidator",),
    ("Transform",),
    ("Prebatch",),
    ("Trainer",),
    ("Resolver", "InfraValidator"),
    ("Evaluator",),
    ("Gate",),
    ("Pusher",),
)
"""Nodes in an order that they may run in, those that may run at once together."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mysql")


@pytest.fixture(scope="module")
def server(folder):
    with running(folder) as server:
        yield server


@pytest.fixture(scope="module")
def log(folder):
    generate(folder / "log", displays=700, seed=5)
    return folder / "log"


@pytest.fixture(scope="module")
def by_run(folder, server, log):
    """Root and summary of a run of all nodes in one process."""
    root = folder / "by run"
    settings = (*server.settings("other"), *TINY)
    done = clickrank("run", log, "--root", root, *settings, "--json", env=environment(**{VARIABLE: PASSWORD}))
    check_good(done)
    return root, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def by_steps(folder, server, log):
    """Root and summary of a run whose nodes were processes of their own."""
    root = folder / "by steps"
    for nodes in ROUNDS:
        started = {node: start(node, log, root, server) for node in nodes}
        for node, process in started.items():
            out, err = process.communicate()
            assert process.returncode == 0, f"{node}: {err}"
    return root, json.loads(out.splitlines()[-1])["summary"]


def start(node, log, root, server):
    return subprocess.Popen(
        [*command("node", node, log, "--root", root, "--run-id", RUN_ID, *server.settings(), *TINY), "--json"],
        cwd=PROJECT,
        env=environment(**{VARIABLE: PASSWORD}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_steps_two_at_once_come_to_what_a_run_comes_to(by_run, by_steps, monkeypatch):
    monkeypatch.setenv(VARIABLE, PASSWORD)
    (_, whole), (root, summary) = by_run, by_steps
    assert finished_nodes(open_store(RootPaths(root)), RUN_ID) == set(nodes_for(Config()))
    assert summary["map_at_12"] == whole["map_at_12"]
    assert summary["blessed"] == whole["blessed"] is True
    assert summary["pushed_version"]


def test_neither_root_has_a_file_for_the_store(by_run, by_steps):
    for root, _ in (by_run, by_steps):
        assert not RootPaths(root).metadata.exists()
        assert RootPaths(root).store_note.exists()


def test_the_password_is_in_no_file(by_run, by_steps):
    escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    for root, _ in (by_run, by_steps):
        for file in root.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert PASSWORD.encode() not in content, file
                assert escaped.encode() not in content, file
    root, summary = by_run
    # TFX's runner logs the connection.
    assert 'password: "***"' in (RootPaths(root).run(summary["run_id"]) / "log.txt").read_text()


def test_the_next_run_is_served_from_the_cache(by_run, server, log):
    root, first = by_run
    environ = environment(**{VARIABLE: PASSWORD})
    done = clickrank("run", log, "--root", root, *server.settings("other"), *TINY, "--json", env=environ)
    check_good(done)
    again = json.loads(done.stdout.splitlines()[-1])
    assert {"ClickExampleGen", "Transform", "Trainer", "Evaluator"} <= set(again["cached_nodes"])
    assert again["map_at_12"] == first["map_at_12"]


def test_commands_find_the_store_by_the_root_alone(by_steps, log):
    root, _ = by_steps
    check_good(clickrank("report", "--root", root, env=environment(**{VARIABLE: PASSWORD})))
    check_failed(
        clickrank("run", log, "--root", root, *TINY), 2, "keeps its metadata in mysql://mlmd@127.0.0.1:", "set metadata.store=mysql"
    )
