"""The leak audit as a node: what it reads, and what it finds."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tfx.components.util import examples_utils
from tfx.types import standard_artifacts

from components.artifacts import AuditReport
from components.gate.checks import audit as judge
from components.leak_audit.executor import Executor
from components.leak_audit.sample import read_sample
from schemas.config import Config
from schemas.errors import InputDataError
from tests.rows import random_rows
from transforms.audit import PROBED
from transforms.examples import encode

COLUMNS = ("label", "pop_ad_id", "user_views")


def write(folder, rows, shards=1):
    """Writes a table, or serialised Examples."""
    folder.mkdir(parents=True)
    encoded = rows if isinstance(rows, list) else encode(rows)
    for shard in range(shards):
        with tf.io.TFRecordWriter(str(folder / f"data-{shard}.gz"), "GZIP") as writer:
            for example in encoded[shard::shards]:
                writer.write(example)
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs the node on train and eval rows; returns what it found."""

    def run(train, held_out, **config):
        examples, report = standard_artifacts.Examples(), AuditReport()
        examples.uri, report.uri = str(tmp_path / "examples"), str(tmp_path / "audit")
        examples.split_names = '["train", "eval"]'
        examples_utils.set_payload_format(examples, 6)
        for split, rows in (("train", train), ("eval", held_out)):
            write(tmp_path / "examples" / f"Split-{split}", rows, shards=3)
        made = Config.model_validate(config).model_dump(mode="json")
        properties = {"config": json.dumps({name: made[name] for name in ("audit", "features")})}
        Executor().Do({"examples": [examples]}, {"audit": [report]}, properties)
        return json.loads(Path(report.uri, "audit.json").read_text())

    return run


def test_columns_come_back_as_they_were(tmp_path):
    rows = random_rows(200, seed=4)
    read = read_sample(write(tmp_path / "one", rows), COLUMNS, 10**6)
    assert read.equals(rows.select(COLUMNS).cast(read.schema))
    assert read["user_views"].null_count > 0


def test_more_rows_than_are_wanted_are_thinned_whatever_the_files(tmp_path):
    rows = random_rows(2000, seed=4)
    encoded = encode(rows)
    one = read_sample(write(tmp_path / "one", encoded), COLUMNS, 3000)
    other = read_sample(write(tmp_path / "other", encoded[::-1], shards=5), COLUMNS, 3000)
    assert 3000 * 0.7 < one.num_rows == other.num_rows <= 3000  # about 10,000 rows, of which a quarter is kept
    keys = [(name, "ascending") for name in COLUMNS]
    assert one.sort_by(keys).equals(other.sort_by(keys))
    assert np.mean(one["label"]) == pytest.approx(np.mean(rows["label"]), abs=0.03)


@pytest.mark.parametrize("damage", ["none", "cut"])
def test_missing_or_damaged_examples(tmp_path, damage):
    folder = write(tmp_path / "one", random_rows(50))
    (file,) = folder.iterdir()
    if damage == "none":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputDataError, match="run again"):
        read_sample(folder, COLUMNS, 1000)


def test_honest_columns_pass(run):
    found = run(random_rows(3000, seed=1), random_rows(1000, seed=2))
    assert {probe["feature"] for probe in found["probes"]} == set(PROBED)
    assert found["history"] == "past"
    assert found["rows"]["train"] > 3000
    assert judge(found).passed


def test_a_column_made_of_its_own_rows_labels_is_named(run):
    train, held_out = random_rows(3000, seed=1), random_rows(1000, seed=2)
    at = train.column_names.index("popularity")
    leaking = train["label"].to_numpy() + np.random.default_rng(0).normal(size=train.num_rows)
    planted = train.set_column(at, "popularity", pa.array(leaking, pa.float32()))
    check = judge(run(planted, held_out))
    assert not check.passed
    assert (
        f"1 of {len(PROBED)} features that know their own rows' labels: popularity (AUC gap 0.0683, allowed 0.0236)"
        in check.sentence
    )


def test_features_that_see_their_own_labels_never_pass(run):
    rows = random_rows(100)
    found = run(rows, rows, features={"history": "all"}, audit={"max_auc_gap": 1.0, "max_rows": 50})
    assert found["rows"]["train"] <= 50
    assert judge(found).sentence == "Every row sees its own label, as features.history=all says."
    assert not judge(found).passed
