"""A whole run on Beam's portable runner, with an external worker pool in processes of its own, beside one in a single process."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline.nodes import NEVER_CACHED, NODES
from pipeline.synth import generate
from tests.beam_servers import portable_servers

SETTINGS = [
    "encoding.max_buckets=500",
    "model.hidden_units=[16]",
    "model.max_embedding_dim=4",
    "trainer.num_epochs=2",
    "trainer.global_batch_size=256",
    "gate.min_gain_over_popularity=-1",
    "gate.max_calibration=null",
]
ON_BEAM = ("ClickExampleGen", "StatisticsGen", "Transform", "Prebatch", "Evaluator")
SPLITS = ("train", "eval")


def run(log, root, *settings):
    words = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
    command = [sys.executable, "-m", "pipeline.cli", "run", str(log), "--root", str(root), *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "log"
    generate(folder, displays=1000, seed=3)
    return folder


@pytest.fixture(scope="module")
def one_process(log, tmp_path_factory):
    """Root and result of a run in one process."""
    root = tmp_path_factory.mktemp("local")
    return root, run(log, root)


@pytest.fixture(scope="module")
def portable(log, tmp_path_factory):
    """Root and result of a run through job service and pool, and what the pool wrote."""
    root = tmp_path_factory.mktemp("portable")
    with portable_servers(tmp_path_factory.mktemp("servers")) as servers:
        beam = json.dumps(servers.beam.model_dump(exclude_none=True, mode="json"))
        return root, run(log, root, f"beam={beam}"), servers.log.read_text()


def examples(root, artifact, split):
    """The tf.Examples of a split, each as feature -> values, sorted by all whole numbers: which file has which is the runner's
    business.
    """
    files = [str(file) for file in root.glob(f"artifacts/{artifact}/*/Split-{split}/*.gz")]
    found = []
    for record in tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator():
        features = sorted(tf.train.Example.FromString(record).features.feature.items())
        kinds = [(name, value, value.WhichOneof("kind") or "int64_list") for name, value in features]
        whole = [(name, tuple(value.int64_list.value)) for name, value, kind in kinds if kind == "int64_list"]
        found.append((whole, {name: tuple(getattr(value, kind).value) for name, value, kind in kinds}))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def same(ours, theirs):
    """Whether two rows are the same; TensorFlow's last bit depends on which rows it computes together."""
    return ours == theirs or (
        ours.keys() == theirs.keys() and all(np.allclose(ours[name], theirs[name], rtol=1e-6, atol=0) for name in ours)
    )


def statistics(root, split):
    """Number of rows, and of each feature how many have it and its mean."""
    (file,) = root.glob(f"artifacts/StatisticsGen/statistics/*/Split-{split}/FeatureStats.pb")
    (dataset,) = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes()).datasets
    found = {
        feature.path.step[0]: (stats.common_stats.num_non_missing, pytest.approx(getattr(stats, "mean", 0.0)))
        for feature in dataset.features
        for stats in [feature.num_stats if feature.HasField("num_stats") else feature.string_stats]
    }
    return dataset.num_examples, found


@pytest.mark.slow
def test_the_pool_works_for_every_node_that_runs_on_beam_and_the_figures_are_the_same(one_process, portable):
    (_, here), (_, there, pool) = one_process, portable
    assert pool.count(" started for ") >= len(ON_BEAM)
    for figure in ("map_at_12", "map_at_12_random", "map_at_12_best", "displays", "bad_rows", "blessed"):
        assert there[figure] == here[figure], figure


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("artifact", ["ClickExampleGen/examples", "Transform/transformed_examples"])
def test_the_rows_are_the_same(artifact, split, one_process, portable):
    ours, theirs = (examples(root, artifact, split) for root, *_ in (one_process, portable))
    assert len(ours) > 100
    assert len(ours) == len(theirs)
    assert [pair for pair in zip(ours, theirs, strict=True) if not same(*pair)] == []


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_the_statistics_are_the_same(split, one_process, portable):
    count, features = statistics(one_process[0], split)
    assert count > 100
    assert len(features) > 50
    assert statistics(portable[0], split) == (count, features)


@pytest.mark.slow
def test_a_change_of_the_runner_runs_nothing_again(log, portable):
    again = run(log, portable[0], "beam.threads=2")
    assert set(again["cached_nodes"]) >= set(ON_BEAM)
    assert not set(again["cached_nodes"]) & set(NEVER_CACHED)
    assert set(again["node_seconds"]) <= set(NODES)
