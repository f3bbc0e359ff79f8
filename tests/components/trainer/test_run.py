import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.trainer import cluster, export
from components.trainer import job as jobs
from components.trainer.input import find_files, parse_spec, read_batches
from components.trainer.run import run_fn
from schemas import features, progress, serving
from schemas.config import FeaturesConfig
from schemas.errors import ClickrankError, ConfigError, InputDataError
from tests.components.conftest import KEPT
from tests.rows import random_rows
from transforms.examples import encode


def make_job(args):
    sections = {name: args.custom_config[name] for name in ("encoding", "model", "trainer")}
    return jobs.Job(
        train_files=find_files("train", args.train_files),
        eval_files=find_files("eval", args.eval_files),
        transform_output=args.transform_output,
        run_dir=args.model_run_dir,
        **sections,
    )


@pytest.fixture(scope="module")
def trained(make_fn_args, tmp_path_factory):
    """(FnArgs, weights that were exported, progress reports) of one run with strategy none."""
    args = make_fn_args(tmp_path_factory.mktemp("run"), trainer={"num_epochs": 8})
    reports = []
    with pytest.MonkeyPatch.context() as patch:
        exported = []
        real = export.export
        patch.setattr(export, "export", lambda model, weights, *rest: (exported.append(weights), real(model, weights, *rest)))
        progress.set_sink(lambda *report: reports.append(report))
        try:
            run_fn(args)
        finally:
            progress.set_sink(None)
    return args, exported[0], reports


@pytest.fixture(scope="module")
def signatures(trained):
    loaded = tf.saved_model.load(trained[0].serving_model_dir)
    signatures = dict(loaded.signatures)
    signatures["_keep"] = loaded  # the functions hold their variables by weak references
    return signatures


def score(signatures, examples, name="serving_default"):
    return {k: v.numpy() for k, v in signatures[name](examples=tf.constant(examples, tf.string)).items()}


def history(args):
    with open(f"{args.model_run_dir}/history.jsonl") as file:
        return [json.loads(line) for line in file]


def test_the_model_beats_chance(make_fn_args, tmp_path):
    """0.67 is the AUC of the column that the label was made from; so few rows do not bear the ids."""
    numbers_only = {"drop": [f.name for f in features.FEATURES if f.is_input and (f.kind in ("id", "ids") or f.name not in KEPT)]}
    job = make_job(make_fn_args(tmp_path, encoding=numbers_only, trainer={"num_epochs": 8}))
    best = min(jobs.execute(job, tf.distribute.get_strategy()).history, key=lambda record: record.eval_log_loss)
    assert best.eval_auc > 0.6
    base = random_rows(300, seed=1)["label"].to_numpy().mean()
    assert best.eval_log_loss < -(base * np.log(base) + (1 - base) * np.log(1 - base)) - 0.005


def test_history_and_progress(trained):
    args, _, reports = trained
    records = history(args)
    assert [r["epoch"] for r in records] == list(range(1, 9))
    assert set(records[0]) == {"epoch", "steps", "train_loss", "eval_log_loss", "eval_auc", "seconds", "rows_per_second"}
    rows = random_rows(500, seed=0).num_rows
    assert records[-1]["steps"] == 8 * -(-rows // 128)
    assert reports == [("train", epoch, 8) for epoch in range(1, 9)]


def test_tensorboard_events(trained):
    (path,) = tf.io.gfile.glob(f"{trained[0].model_run_dir}/events.*")
    values = {}
    for record in tf.data.TFRecordDataset(path):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            values[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert values["eval/log_loss", 8] == pytest.approx(history(trained[0])[-1]["eval_log_loss"], rel=1e-6)
    assert {tag for tag, _ in values} == {"train/loss", "train/rows_per_second", "eval/log_loss", "eval/auc"}


def test_how_the_features_were_made_is_kept(trained):
    with open(f"{trained[0].serving_model_dir}/{serving.FEATURES_FILE}") as file:
        assert FeaturesConfig(**json.load(file)) == FeaturesConfig(delay_ms=60_000)


def test_signatures_are_the_contract(signatures):
    serving.check_signatures(signatures)


def test_serving_scores_are_the_training_graphs(trained, signatures):
    args, weights, _ = trained
    job = make_job(args)
    model = job.build_model()
    model.set_weights(weights)
    spec = {**parse_spec(tft.TFTransformOutput(args.transform_output), job.inputs())}
    (batch,) = read_batches(job.eval_files, spec, 10_000)
    count = int(batch.rows)
    trained_scores = tf.sigmoid(model(batch.features)).numpy()[:count]
    served = score(signatures, encode(random_rows(300, seed=1)))["score"]
    # The files hold the rows in another order.
    np.testing.assert_allclose(np.sort(served), np.sort(trained_scores), atol=1e-5)


def test_best_epoch_is_what_is_served(trained, signatures):
    rows = random_rows(300, seed=1)
    p, label = score(signatures, encode(rows))["score"], rows["label"].to_numpy()
    log_loss = -np.mean(np.log(np.where(label == 1, p, 1 - p)))
    assert log_loss == pytest.approx(min(r["eval_log_loss"] for r in history(trained[0])), abs=1e-5)


def test_rank(signatures):
    examples = encode(random_rows(20, seed=3))[:30]
    examples[7] = examples[3]  # a tie
    out = score(signatures, examples, "rank")
    np.testing.assert_allclose(out["score"], score(signatures, examples)["score"], rtol=1e-6)
    expected = np.empty(30, np.int64)
    expected[np.lexsort((np.arange(30), -out["score"]))] = np.arange(1, 31)
    np.testing.assert_array_equal(out["rank"], expected)
    assert out["rank"][7] == out["rank"][3] + 1


def test_rank_of_equals_is_the_order_given(signatures):
    assert score(signatures, [b""] * 40, "rank")["rank"].tolist() == list(range(1, 41))


@pytest.mark.parametrize("name", ["serving_default", "rank"])
def test_no_candidates(signatures, name):
    assert all(len(value) == 0 for value in score(signatures, [], name).values())


def test_a_request_needs_no_key_and_no_feature(signatures):
    rows = random_rows(10, seed=4)
    bare = rows.select([f.name for f in features.FEATURES])
    full = score(signatures, encode(rows))["score"]
    np.testing.assert_array_equal(score(signatures, encode(bare))["score"], full)
    empty = score(signatures, [b""])["score"]
    assert 0 < empty[0] < 1
    unlike = score(signatures, encode(bare.drop_columns(["pop_ad_id"])))["score"]
    assert (unlike != full).any()


def test_same_seed_same_weights(make_fn_args, tmp_path):
    results = []
    for i, seed in enumerate([0, 0, 1]):
        args = make_fn_args(tmp_path / str(i), model={"dropout": 0.2}, trainer={"num_epochs": 2, "seed": seed})
        results.append(jobs.execute(make_job(args), tf.distribute.get_strategy()).weights)
    for a, b in zip(results[0], results[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(results[0], results[2], strict=True))


def test_nan_loss_exports_nothing(make_fn_args, tmp_path):
    optimizer = {"name": "sgd", "learning_rate": 1e30}
    args = make_fn_args(tmp_path, trainer={"deep_optimizer": optimizer})
    with pytest.raises(ClickrankError, match="at step"):
        run_fn(args)
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize("split", ["train", "evaluate"])
def test_missing_split(make_fn_args, tmp_path, split):
    with pytest.raises(InputDataError, match="no file of the"):
        run_fn(make_fn_args(tmp_path, **{split: "nowhere/*"}))


def test_unknown_key_is_a_config_error(make_fn_args, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.optimiser"):
        run_fn(make_fn_args(tmp_path, trainer={"optimiser": "adam"}))


def test_malformed_tf_config_is_a_config_error(make_fn_args, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        run_fn(make_fn_args(tmp_path, trainer={"strategy": "multi_worker", "workers": 2}))


def test_weights_round_trip(tmp_path):
    weights = [np.arange(i + 1, dtype=np.float32) for i in range(12)] + [np.float32(3.0)]
    jobs.save_weights(str(tmp_path / "w.npz"), weights)
    loaded = jobs.load_weights(str(tmp_path / "w.npz"))
    assert len(loaded) == 13
    for a, b in zip(weights, loaded, strict=True):
        np.testing.assert_array_equal(a, b)


def test_importing_run_does_not_import_tensorflow():
    code = "import sys, components.trainer.run; sys.exit('tensorflow' in sys.modules or 'tfx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=cluster.ROOT).returncode == 0


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "gam", "gam_hidden_units": [8], "dropout": 0.2, "batch_norm": True, "activation": "gelu"},
        {"kind": "custom", "custom": "tests.components.trainer.custom_models:functional", "allowed_packages": ["tests"]},
    ],
    ids=lambda model: model["kind"],
)
def test_other_kinds_are_trained_and_served(make_fn_args, tmp_path, model):
    args = make_fn_args(tmp_path, model=model, trainer={"num_epochs": 2})
    run_fn(args)
    losses = [record["train_loss"] for record in history(args)]
    assert losses[1] < losses[0]
    loaded = tf.saved_model.load(args.serving_model_dir)
    serving.check_signatures(loaded.signatures)
    rows = random_rows(300, seed=1)
    p, label = score(loaded.signatures, encode(rows))["score"], rows["label"].to_numpy()
    log_loss = -np.mean(np.log(np.where(label == 1, p, 1 - p)))
    assert log_loss == pytest.approx(min(r["eval_log_loss"] for r in history(args)), abs=1e-5)


@pytest.mark.slow  # two processes that each import TensorFlow and build the graph: 20 to 40 s
def test_two_workers_equal_one(make_fn_args, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    exported, reports = [], []
    monkeypatch.setattr(export, "export", lambda model, weights, *rest: exported.append(weights))
    monkeypatch.setattr(progress, "_sink", lambda *report: reports.append(report))
    sgd = {"name": "sgd", "learning_rate": 0.1}
    for workers, strategy in ((1, "none"), (2, "multi_worker")):
        trainer = {"strategy": strategy, "workers": workers, "num_epochs": 2, "deep_optimizer": sgd}
        run_fn(make_fn_args(tmp_path / strategy, model={"batch_norm": True}, trainer=trainer))
    for one, two in zip(*exported, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5)
    records = [history(make_fn_args(tmp_path / s)) for s in ("none", "multi_worker")]
    for one, two in zip(*records, strict=True):
        assert one["steps"] == two["steps"]
        for key in ("train_loss", "eval_log_loss", "eval_auc"):
            assert two[key] == pytest.approx(one[key], abs=1e-5)
    assert reports == [("train", 1, 2), ("train", 2, 2)] * 2
    assert (tmp_path / "multi_worker" / "run" / "workers" / "worker-1.log").exists()


@pytest.mark.slow
def test_an_error_in_the_workers_is_raised_here(make_fn_args, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    sgd = {"name": "sgd", "learning_rate": 1e30}
    trainer = {"strategy": "multi_worker", "workers": 2, "deep_optimizer": sgd}
    with pytest.raises(ClickrankError, match="at step"):
        run_fn(make_fn_args(tmp_path, trainer=trainer))
    assert not (tmp_path / "serving").exists()
