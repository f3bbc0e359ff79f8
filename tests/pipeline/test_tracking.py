"""What is sent to MLflow, by a real server; a whole run's is in test_after_a_run.py."""

import io
import json
import os
import socket
import time
from dataclasses import replace

import pytest

from pipeline.config import load_config, to_yaml
from pipeline.console import RunConsole
from pipeline.paths import RootPaths
from pipeline.tracking import track
from pipeline.tracking.payload import Payload, numbers, parameters
from pipeline.tracking.send import check_installed, send
from schemas.config import Config, TrackingConfig
from schemas.errors import ConfigError, RemoteError
from tests.faults.command import check_failed, clickrank
from tests.pipeline.mlflow_server import running

RUN = "20260101-000000-abcd"
PAYLOAD = Payload(
    RUN,
    1_767_225_600_000,
    1_767_225_660_000,
    {f"section.key{i}": str(i) for i in range(150)},
    (("map_at_12", 0.5, 0), *(("eval/auc", 0.5 + step / 10_000, step) for step in range(1200))),
    {"clickrank.run_id": RUN, "clickrank.blessed": "true"},
    (f"runs/{RUN}/config.resolved.yaml", f"runs/{RUN}/report.html"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def paths(tmp_path):
    """A root with a run that is to be sent, and has no report."""
    paths = RootPaths(tmp_path / "root")
    paths.run(RUN).mkdir(parents=True)
    (paths.run(RUN) / "config.resolved.yaml").write_text(to_yaml(Config()))
    paths.tracking(RUN).write_text(json.dumps({"sent": None, "payload": PAYLOAD.to_json()}))
    return paths


def test_parameters_are_the_configuration_without_where_to_track():
    given = parameters(load_config((), ["trainer.num_epochs=3", "trainer.losses=[{name: focal}]", "tracking.mlflow_uri=http://x"]))
    assert given["trainer.num_epochs"] == "3"
    assert given["model.kind"] == "wide_deep"
    assert given["split.eval_days"] == "[11, 12]"
    assert json.loads(given["trainer.losses"])[0]["name"] == "focal"
    assert not [name for name in given if name.startswith("tracking")]


def test_metrics_are_the_finite_numbers_of_a_tree():
    tree = {"a": 1, "b": {"c": 0.5, "d": None}, "nan": float("nan"), "is": True, "text": "1", "pushed_version": 7, "empty": {}}
    assert list(numbers(tree)) == [("a", 1.0), ("b.c", 0.5)]


def test_a_payload_outlives_its_file():
    assert Payload.from_json(json.loads(json.dumps(PAYLOAD.to_json()))) == PAYLOAD


def test_a_run_is_there_once_however_often_it_is_sent(server, paths):
    from mlflow import MlflowClient

    tracking = TrackingConfig(mlflow_uri=server, experiment="once")
    sent = send(PAYLOAD, paths.root, tracking)
    paths.report(RUN).write_text("<p>made later</p>")
    assert send(PAYLOAD, paths.root, tracking) == sent

    client = MlflowClient(tracking_uri=server)
    (run,) = client.search_runs([client.get_experiment_by_name("once").experiment_id])
    assert run.info.run_id == sent.mlflow_run_id
    assert (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time) == (
        *(RUN, "FINISHED"),
        *(PAYLOAD.started_ms, PAYLOAD.ended_ms),
    )
    assert run.data.params == PAYLOAD.params
    assert run.data.tags.items() >= PAYLOAD.tags.items()
    history = client.get_metric_history(run.info.run_id, "eval/auc")
    assert [(m.step, m.value) for m in history] == [(step, value) for name, value, step in PAYLOAD.metrics if name == "eval/auc"]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"config.resolved.yaml", "report.html"}
    assert not [name for name in os.environ if name.startswith("MLFLOW_HTTP")]


def test_a_run_that_was_cut_off_half_way_is_completed(server, paths):
    from mlflow import MlflowClient

    client, tracking = MlflowClient(tracking_uri=server), TrackingConfig(mlflow_uri=server, experiment="half")
    payload = replace(PAYLOAD, metrics=PAYLOAD.metrics[:5])
    half = client.create_run(client.create_experiment("half"), payload.started_ms, payload.tags)
    client.log_param(half.info.run_id, "section.key0", "0")
    client.log_metric(half.info.run_id, "map_at_12", 0.5, payload.ended_ms, 0)
    assert send(payload, paths.root, tracking).mlflow_run_id == half.info.run_id
    run = client.get_run(half.info.run_id)
    assert (run.info.status, len(run.data.params)) == ("FINISHED", 150)
    assert len(client.get_metric_history(half.info.run_id, "map_at_12")) == 1


def test_what_could_not_be_sent_is_sent_later(server, paths):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"
        screen, start = io.StringIO(), time.monotonic()
        assert track.track_run(paths, RUN, TrackingConfig(mlflow_uri=away), RunConsole(screen, 1)) is None
        assert time.monotonic() - start < 60
    (line,) = screen.getvalue().splitlines()
    assert line.startswith(f"warning: not tracked: MLflow at {away}: ")
    assert line.endswith(f"`clickrank track --root {paths.root}` sends it later")

    done = clickrank("track", "--root", paths.root, "--mlflow-uri", server, "--experiment", "later", "--json")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout.splitlines()[-1])["sent"]
    assert one["run_id"] == RUN
    assert track.track(paths.root, None, server, "later", verbose=True) == []
    assert track.track(paths.root, RUN, server, "later", verbose=True) == [one]


def test_a_server_that_is_away_or_that_nobody_named_has_an_exit_code(paths):
    check_failed(clickrank("track", "--root", paths.root), 2, "tracking.mlflow_uri is not set")
    check_failed(
        clickrank("track", "--root", paths.root, "--mlflow-uri", "http://127.0.0.1:9"), 5, "MLflow at http://127.0.0.1:9: "
    )


def test_a_deleted_experiment_is_named(server, paths):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server)
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(RemoteError, match="'gone' was deleted there"):
        send(PAYLOAD, paths.root, TrackingConfig(mlflow_uri=server, experiment="gone"))


def test_a_missing_package_is_said_before_the_run(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_installed(TrackingConfig())
    with pytest.raises(ConfigError, match="install the package mlflow-skinny"):
        check_installed(TrackingConfig(mlflow_uri="http://x"))


@pytest.mark.parametrize("uri", ["http://me:s3cret@host:5000", "https://s3cret@host/path"])
def test_an_address_with_a_password_is_refused_and_not_shown(uri):
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD") as raised:
        load_config((), [f"tracking.mlflow_uri={uri}"])
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "http:///x"])
def test_an_address_that_is_no_server_is_refused(uri):
    with pytest.raises(ConfigError, match=r"tracking\.mlflow_uri"):
        load_config((), [f"tracking.mlflow_uri={uri}"])
