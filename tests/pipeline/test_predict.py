"""`clickrank predict` on tf.Examples: what it takes, and what it says of a model or data that it cannot use."""

import csv
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from components.pusher.versions import push, rollback
from pipeline import predict as module
from pipeline.predict import predict
from schemas.config import IngestConfig
from schemas.errors import ClickrankError, ConfigError, InputDataError
from tests.components.saved_models import pop_ad_id, save_contract
from tests.faults.command import check_failed, check_good, clickrank
from tests.rows import random_rows
from transforms.examples import encode


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """A folder of tf.Examples of ten displays."""
    folder = tmp_path_factory.mktemp("examples")
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord.gz"), "GZIP") as writer:
        for example in encode(random_rows(10)):
            writer.write(example)
    return folder


def score(model, data, out, submission=False):
    return predict(Path(model), data, Path(out), IngestConfig(), submission=submission, verbose=False)


def left(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_submission_has_each_displays_ads_best_first(examples, tmp_path):
    rows = random_rows(10).to_pydict()
    result = score(save_contract(tmp_path / "model"), examples, tmp_path / "s.csv", submission=True)
    pop = [p or 0.0 for p in rows["pop_ad_id"]]
    expected = ["display_id,ad_id"]
    for display in range(1, 11):
        ads = [(-p, ad) for d, ad, p in zip(rows["display_id"], rows["ad_id"], pop, strict=True) if d == display]
        expected.append(f"{display},{' '.join(str(ad) for _, ad in sorted(ads))}")
    assert (tmp_path / "s.csv").read_text() == "\n".join(expected) + "\n"
    assert (result["rows"], result["displays"]) == (len(pop), 10)
    assert left(tmp_path) == ["model", "s.csv"]


def test_the_version_in_service_is_taken(examples, tmp_path):
    for name, weight in (("a", 0.5), ("b", 1.0)):
        push(save_contract(tmp_path / name, lambda e, w=weight: pop_ad_id(e) * w), tmp_path / "serving")
    back = rollback(tmp_path / "serving")
    result = score(tmp_path / "serving", examples, tmp_path / "s.csv")
    assert result["version"] == str(back.number)
    with (tmp_path / "s.csv").open() as file:
        best = max(float(row["score"]) for row in csv.DictReader(file))
    assert best == pytest.approx(0.5 * max(p or 0 for p in random_rows(10)["pop_ad_id"].to_pylist()), rel=1e-6)


def test_a_model_that_cannot_score(examples, tmp_path):
    save_contract(tmp_path / "model", leave_out="serving_default")
    with pytest.raises(
        ConfigError, match=r"model: cannot score: the model has no signature 'serving_default'. Received: \['rank'\]"
    ):
        score(tmp_path / "model", examples, tmp_path / "s.csv")
    version = push(save_contract(tmp_path / "other"), tmp_path / "serving")
    shutil.rmtree(version.path / "variables")
    with pytest.raises(ConfigError, match=r"damaged, variables/variables\.data-00000-of-00001 is missing"):
        score(tmp_path / "serving", examples, tmp_path / "s.csv")
    shutil.rmtree(tmp_path / "other" / "variables")
    with pytest.raises(ConfigError, match="other: cannot be loaded: "):
        score(tmp_path / "other", examples, tmp_path / "s.csv")
    (tmp_path / "other" / "saved_model.pb").write_bytes(b"\xff" * 99)
    with pytest.raises(ConfigError, match="other: cannot be loaded: "):
        score(tmp_path / "other", examples, tmp_path / "s.csv")
    assert left(tmp_path) == ["model", "other", "serving"]


def test_no_display_to_score(tmp_path):
    (tmp_path / "data").mkdir()
    tf.io.TFRecordWriter(str(tmp_path / "data" / "tfrecord.gz"), "GZIP").close()
    with pytest.raises(InputDataError, match="data: has no display to score"):
        score(save_contract(tmp_path / "model"), tmp_path / "data", tmp_path / "s.csv")


def test_what_was_not_foreseen_is_one_line_and_the_log_is_kept(examples, tmp_path, monkeypatch):
    def fail(scored, path):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(module, "_write_submission", fail)
    kept = tmp_path / "s.csv.log.txt"
    with pytest.raises(ClickrankError) as raised:
        score(save_contract(tmp_path / "model"), examples, tmp_path / "s.csv", submission=True)
    assert str(raised.value) == f"RuntimeError: first line; see {kept}"
    assert left(tmp_path) == ["model", "s.csv.log.txt"]


def test_the_command(examples, tmp_path):
    """As a process: one line where it fails, and a count where it does not."""
    needed = {"of another schema": tf.io.FixedLenFeature([], tf.float32)}
    save_contract(tmp_path / "model", lambda e: tf.io.parse_example(e, needed)["of another schema"])
    error = check_failed(clickrank("predict", tmp_path / "model", examples, tmp_path / "s.csv"), 1, "InvalidArgumentError: ")
    assert error.endswith(f"; see {tmp_path}/s.csv.log.txt")
    assert "Traceback (most recent call last)" in (tmp_path / "s.csv.log.txt").read_text()
    done = clickrank("predict", save_contract(tmp_path / "good"), examples, tmp_path / "s.csv")
    check_good(done)
    assert "of 10 displays scored by version good" in done.stdout
