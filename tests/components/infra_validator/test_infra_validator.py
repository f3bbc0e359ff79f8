"""The whole check with a real process, and what TFX gets to see of it."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.components.pusher.executor import Executor as TfxPusher
from tfx.types import artifact_utils, channel, standard_artifacts

from components.infra_validator.check import check_model
from components.infra_validator.component import InfraValidator
from components.infra_validator.executor import Executor, read_displays
from components.infra_validator.report import read_infra
from schemas.config import InfraConfig
from schemas.errors import InputDataError
from tests.components.saved_models import pop_ad_id, save_contract, save_scorer
from tests.rows import random_rows
from transforms.examples import encode


def endless(examples):
    return tf.while_loop(lambda s: tf.reduce_all(s < 2), lambda s: [s * 1], [pop_ad_id(examples)])[0]


def failed(report):
    return [check.sentence for check in report.checks if not check.passed]


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """An Examples artifact with an eval split of 20 displays."""
    made = standard_artifacts.Examples()
    made.uri = str(tmp_path_factory.mktemp("examples"))
    made.split_names = artifact_utils.encode_split_names(["train", "eval"])
    Path(made.uri, "Split-eval").mkdir()
    with tf.io.TFRecordWriter(str(Path(made.uri, "Split-eval", "data.gz")), "GZIP") as writer:
        for example in encode(random_rows(20)):
            writer.write(example)
    return made


@pytest.fixture
def run(tmp_path, examples):
    """Runs the executor on the model that `save` makes; returns the blessing and the seconds it took."""

    def run(save, **config):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / "model")
        save(Path(model.uri, "Format-Serving"))
        blessing = standard_artifacts.InfraBlessing()
        blessing.uri = str(tmp_path / "blessing")
        start = time.monotonic()
        Executor().Do(
            {"model": [model], "examples": [examples]},
            {"infra_blessing": [blessing]},
            {"infra": InfraConfig(**config).model_dump_json()},
        )
        return blessing, time.monotonic() - start

    return run


def test_a_model_that_a_server_can_serve(run):
    blessing, _ = run(save_contract, requests=50)
    assert sorted(p.name for p in Path(blessing.uri).iterdir()) == ["INFRA_BLESSED", "infra.json"]
    assert TfxPusher().CheckBlessing({"infra_blessing": [blessing]})
    record = read_infra(blessing.uri)
    assert record["passed"] is True
    assert [c["name"] for c in record["checks"]] == ["operations", "load", "signatures", "scores", "latency", "size"]
    assert record["reasons"][3].startswith("50 ads of ")
    assert 0 < record["latency_ms"]["p50"] <= record["latency_ms"]["p99"]
    assert record["bytes"] == sum(p.stat().st_size for p in Path(blessing.uri, "../model").rglob("*") if p.is_file())


def test_a_model_without_the_signature_is_refused_with_bounds_that_it_breaks(run):
    blessing, _ = run(save_scorer, max_bytes=1000)
    assert sorted(p.name for p in Path(blessing.uri).iterdir()) == ["INFRA_NOT_BLESSED", "infra.json"]
    assert not TfxPusher().CheckBlessing({"infra_blessing": [blessing]})
    record = json.loads(Path(blessing.uri, "infra.json").read_text())
    assert (record["passed"], record["latency_ms"]) == (False, None)
    assert "no signature 'rank'" in record["reasons"][0]
    assert record["reasons"][1].endswith("bytes on disk; infra.max_bytes is 1,000.")


def test_a_model_that_never_answers_is_stopped(run):
    blessing, seconds = run(lambda folder: save_contract(folder, endless), timeout_s=25)
    (reason,) = read_infra(blessing.uri)["reasons"]
    assert reason == "The model was still scoring after infra.timeout_s = 25 s, and was stopped."
    assert seconds < 40
    assert children() == []


def number(example, name):
    return tf.train.Example.FromString(example).features.feature[name].int64_list.value[0]


def children():
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


@pytest.mark.parametrize(
    ("number", "hint"), [(signal.SIGKILL, ", as the system does where memory runs out"), (signal.SIGSEGV, "")], ids=lambda v: str(v)
)
def test_a_process_that_dies_is_a_failed_check(tmp_path, number, hint):
    before = set(children())

    def kill():
        deadline = time.monotonic() + 60
        while not set(children()) - before and time.monotonic() < deadline:
            time.sleep(0.01)
        (child,) = set(children()) - before
        time.sleep(0.2)
        os.kill(child, number)

    killer = threading.Thread(target=kill)
    killer.start()
    report = check_model(save_contract(tmp_path, endless), [[b""]], InfraConfig())
    killer.join()
    assert not report.passed
    (reason,) = failed(report)
    assert reason.startswith(f"The process was killed by {number.name} while ")
    assert reason.endswith(f"{hint}.")


def test_a_refused_operation_means_that_the_model_is_not_loaded(tmp_path):
    save_contract(tmp_path, lambda e: tf.ensure_shape(tf.numpy_function(abs, [pop_ad_id(e)], tf.float32), [None]))
    report = check_model(tmp_path, [[b""]], InfraConfig())
    assert [check.name for check in report.checks] == ["operations", "size"]
    (reason,) = failed(report)
    assert reason.startswith("The graph has operations that a served model may not have: PyFunc (in function __inference_")


def test_half_a_model_and_no_request(tmp_path):
    assert "no such file" in failed(check_model(tmp_path / "gone", [[b""]], InfraConfig()))[0].lower()
    assert failed(check_model(save_contract(tmp_path), [], InfraConfig())) == [
        "The eval split has no Example to ask the model with."
    ]


def test_too_slow(tmp_path):
    report = check_model(save_contract(tmp_path), [[b"", b""]], InfraConfig(max_latency_ms=1e-6))
    (reason,) = failed(report)
    assert reason.startswith("One display takes ")
    assert reason.endswith(" ms; infra.max_latency_ms is 1e-06.")


def test_requests_are_whole_displays_in_order(examples, tmp_path):
    split = str(Path(examples.uri, "Split-eval"))
    displays = read_displays(split, 10**6)
    ids = [[number(example, "display_id") for example in display] for display in displays]
    assert [set(display) for display in ids] == [{display_id} for display_id in range(1, 21)]
    assert [len(display) for display in displays] == [number(display[0], "ads_per_display") for display in displays]
    assert sum(map(len, read_displays(split, 7))) == 7
    assert read_displays(str(tmp_path), 7) == []
    content = Path(split, "data.gz").read_bytes()
    (tmp_path / "data.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputDataError, match=f"{tmp_path}: damaged"):
        read_displays(str(tmp_path), 10**6)


def test_component():
    infra = InfraValidator(
        model=channel.Channel(standard_artifacts.Model),
        examples=channel.Channel(standard_artifacts.Examples),
        infra=InfraConfig(max_bytes=7),
        code="digest",
    )
    assert InfraConfig.model_validate_json(infra.exec_properties["infra"]).max_bytes == 7
    assert infra.exec_properties["code"] == "digest"
    assert infra.outputs["infra_blessing"].type is standard_artifacts.InfraBlessing


def test_a_report_that_is_gone(tmp_path):
    with pytest.raises(InputDataError, match=r"infra\.json: missing or damaged"):
        read_infra(tmp_path)
