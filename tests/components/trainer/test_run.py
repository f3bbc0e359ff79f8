import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.average_precision import mean_average_precision
from components.trainer import export, launch, replay
from components.trainer import job as jobs
from components.trainer.replay import check_replay
from components.trainer.run import run_fn
from schemas import features, progress, serving
from schemas.config import FeaturesConfig
from schemas.errors import ClickrankError, ConfigError, InputDataError, TransientError
from tests.components.conftest import ENCODING, KEPT
from tests.prebatched import pack
from tests.rows import random_rows
from transforms.examples import encode


def make_job(args):
    sections = {name: args.custom_config[name] for name in ("encoding", "model", "trainer")}
    return jobs.Job(
        train_dir=args.train_files[0].removesuffix("/*"),
        eval_dir=args.eval_files[0].removesuffix("/*"),
        run_dir=args.model_run_dir,
        checkpoints=args.custom_config["checkpoints"],
        **sections,
    )


def train(job):
    """The weights after the last step."""
    trained = jobs.execute(job, tf.distribute.get_strategy())
    model = job.build_model()
    jobs.load_weights(model, trained.latest)
    return model.get_weights()


@pytest.fixture(scope="module")
def trained(make_fn_args, tmp_path_factory):
    """(FnArgs, model as it was exported for serving, progress reports) of one run with strategy none."""
    args = make_fn_args(tmp_path_factory.mktemp("run"), trainer={"num_epochs": 8})
    reports = []
    with pytest.MonkeyPatch.context() as patch:
        exported = []
        real = export.export
        patch.setattr(export, "export", lambda model, *rest: (exported.append(model), real(model, *rest)))
        progress.set_sink(lambda *report: reports.append(report))
        try:
            run_fn(args)
        finally:
            progress.set_sink(None)
    return args, exported[-1], reports


@pytest.fixture(scope="module")
def signatures(trained):
    loaded = tf.saved_model.load(trained[0].serving_model_dir)
    signatures = dict(loaded.signatures)
    signatures["_keep"] = loaded  # the functions hold their variables by weak references
    return signatures


def score(signatures, examples, name="serving_default"):
    return {k: v.numpy() for k, v in signatures[name](examples=tf.constant(examples, tf.string)).items()}


def history(args):
    run_dir = args.run_dir if isinstance(args, jobs.Job) else args.model_run_dir
    with open(f"{run_dir}/history.jsonl") as file:
        return [json.loads(line) for line in file]


def test_the_model_beats_chance(make_fn_args, transformed, tmp_path):
    """0.67 is the AUC of the column that the label was made from; so few rows do not bear the ids."""
    numbers_only = {"drop": [f.name for f in features.FEATURES if f.is_input and (f.kind in ("id", "ids") or f.name not in KEPT)]}
    pack(transformed, {**ENCODING, **numbers_only}, tmp_path / "records")
    args = make_fn_args(tmp_path, encoding=numbers_only, trainer={"num_epochs": 8})
    args.train_files, args.eval_files = ([str(tmp_path / f"records/Split-{split}/*")] for split in ("train", "eval"))
    job = make_job(args)
    jobs.execute(job, tf.distribute.get_strategy())
    best = min(history(job), key=lambda record: record["log_loss"])
    assert best["auc"] > 0.6
    base = random_rows(300, seed=1)["label"].to_numpy().mean()
    assert best["log_loss"] < -(base * np.log(base) + (1 - base) * np.log(1 - base)) - 0.005


def test_history_and_progress(trained):
    args, _, reports = trained
    records = history(args)
    assert [r["epoch"] for r in records] == list(range(1, 9))
    metrics = {"map_at_12", "ndcg_at_12", "log_loss", "auc", "calibration"}
    rates = {"wide_learning_rate", "deep_learning_rate"}
    assert set(records[0]) == {"epoch", "step", "train_loss", "seconds", "rows_per_second"} | metrics | rates
    assert records[-1]["step"] == reports[-1][1] == reports[-1][2] == len(reports)
    assert reports[0] == ("train", 1, len(reports))


def test_tensorboard_events(trained):
    (path,) = tf.io.gfile.glob(f"{trained[0].model_run_dir}/events.*")
    values = {}
    for record in tf.data.TFRecordDataset(path):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            values[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    last = history(trained[0])[-1]
    assert values["eval/map_at_12", last["step"]] == pytest.approx(last["map_at_12"], rel=1e-6)
    assert {tag for tag, _ in values} == {
        *("train/loss", "train/rows_per_second", "train/wide_learning_rate", "train/deep_learning_rate"),
        *("eval/map_at_12", "eval/ndcg_at_12", "eval/log_loss", "eval/auc", "eval/calibration"),
    }


def test_how_the_features_were_made_is_kept(trained):
    with open(f"{trained[0].serving_model_dir}/{serving.FEATURES_FILE}") as file:
        assert FeaturesConfig(**json.load(file)) == FeaturesConfig(delay_ms=60_000)


def test_signatures_are_the_contract(signatures):
    serving.check_signatures(signatures)


def test_a_skewed_export_fails(trained, monkeypatch):
    args, model, _ = trained
    _, evaluation = make_job(args).records
    check_replay(model, args.serving_model_dir, evaluation)
    changed = make_job(args).build_model()
    changed.set_weights([w + 1e-3 for w in model.get_weights()])
    with pytest.raises(ClickrankError, match="training-serving skew"):
        check_replay(changed, args.serving_model_dir, evaluation)


def test_how_far_the_export_is_from_the_trained_model_is_kept_beside_it(trained):
    report = Path(trained[0].serving_model_dir).parent / serving.REPLAY_REPORT
    told = json.loads(report.read_text())
    assert 0 <= told["skew"] < 1e-6
    assert told["displays"] > 0


def test_the_best_epoch_by_map_is_what_is_served(trained, signatures):
    rows = random_rows(300, seed=1)
    scores = score(signatures, encode(rows))["score"]
    value = mean_average_precision(rows["display_id"].to_numpy(), scores, rows["label"].to_numpy()).value
    assert value == pytest.approx(max(r["map_at_12"] for r in history(trained[0])), abs=1e-6)


def test_the_latest_is_exported_too_if_it_is_another(trained):
    best = max(history(trained[0]), key=lambda r: r["map_at_12"])["epoch"]
    assert tf.io.gfile.exists(f"{trained[0].model_run_dir}/export/latest/saved_model.pb") == (best != 8)


def test_checkpoints_go_when_the_model_is_exported(trained):
    folder = trained[0].custom_config["checkpoints"]
    assert not tf.io.gfile.exists(folder) or tf.io.gfile.listdir(folder) == []


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
        results.append(train(make_job(args)))
    for a, b in zip(results[0], results[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(results[0], results[2], strict=True))


def test_nan_loss_exports_nothing(make_fn_args, tmp_path):
    optimizer = {"name": "sgd", "learning_rate": 1e30}
    args = make_fn_args(tmp_path, trainer={"deep_optimizer": optimizer})
    with pytest.raises(ClickrankError, match="at step"):
        run_fn(args)
    assert not (tmp_path / "serving").exists()


@pytest.mark.parametrize(
    ("strategy", "tasks"),
    [
        ("parameter_server", {"chief": ["c:1"], "worker": ["w:1"]}),
        ("multi_worker", {"chief": ["c:1"], "worker": ["w:1"], "ps": ["p:1"]}),
    ],
)
def test_parameter_servers_are_for_their_strategy_alone(make_fn_args, tmp_path, monkeypatch, strategy, tasks):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": tasks, "task": {"type": "worker", "index": 0}}))
    with pytest.raises(ConfigError, match=r"TF_CONFIG: trainer\.strategy=parameter_server needs parameter servers"):
        run_fn(make_fn_args(tmp_path, trainer={"strategy": strategy}))


@pytest.mark.parametrize("split", ["train", "evaluate"])
def test_missing_split(make_fn_args, tmp_path, split):
    with pytest.raises(InputDataError, match="not made by Prebatch"):
        run_fn(make_fn_args(tmp_path, **{split: "nowhere/*"}))


LISTWISE = {
    "losses": [{"name": "softmax"}, {"name": "sigmoid_cross_entropy", "weight": 0.5}],
    "loss_weights": "uncertainty",
    "gradient_clip_norm": 1.0,
    "precision": "bfloat16",
    "num_epochs": 2,
}


def test_losses_within_displays_in_low_precision(make_fn_args, tmp_path):
    job = make_job(make_fn_args(tmp_path, trainer=LISTWISE))
    jobs.execute(job, tf.distribute.get_strategy())
    records = history(job)
    assert records[1]["train_loss"] < records[0]["train_loss"]


def test_float16_scales_the_loss(make_fn_args, tmp_path):
    """The scaled loss gives float32's weights, give or take float16's precision."""
    weights = []
    for precision in ("float32", "float16"):
        sgd = {"name": "sgd", "learning_rate": 0.1}
        trainer = {"precision": precision, "num_steps": 5, "deep_optimizer": sgd, "wide_optimizer": sgd}
        weights.append(train(make_job(make_fn_args(tmp_path / precision, trainer=trainer))))
    start = make_job(make_fn_args(tmp_path)).build_model().get_weights()
    for one, other, first in zip(*weights, start, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-3)
        assert (one != first).any() == (other != first).any()


def test_stopped_and_resumed_is_bit_for_bit_the_same(make_fn_args, tmp_path):
    trainer = {"num_epochs": 2, "save_steps": 7, "losses": [{"name": "softmax"}]}
    whole = train(make_job(make_fn_args(tmp_path / "whole", model={"dropout": 0.2}, trainer=trainer)))
    args = make_fn_args(tmp_path / "parts", model={"dropout": 0.2}, trainer=trainer)
    calls = iter([False] * 9 + [True])
    with pytest.raises(TransientError, match="at step 10"):
        jobs.execute(make_job(args), tf.distribute.get_strategy(), stop_requested=lambda: next(calls))
    for part, expected in zip(train(make_job(args)), whole, strict=True):
        np.testing.assert_array_equal(part, expected)
    records = [history(make_fn_args(tmp_path / part)) for part in ("whole", "parts")]
    for one, other in zip(*records, strict=True):
        assert one | {"seconds": 0, "rows_per_second": 0} == other | {"seconds": 0, "rows_per_second": 0}


def test_operational_keys_do_not_make_another_job(make_fn_args, tmp_path):
    folders = {
        make_job(make_fn_args(tmp_path, trainer=trainer)).checkpoint_dir()
        for trainer in ({}, {"workers": 2, "strategy": "multi_worker"}, {"save_steps": 3, "keep": 5}, {"max_restarts": 0})
    }
    assert len(folders) == 1
    servers = {"strategy": "parameter_server", "workers": 2}
    folders_of_servers = {
        make_job(make_fn_args(tmp_path, trainer=servers | trainer)).checkpoint_dir()
        for trainer in ({}, {"parameter_servers": 2}, {"keep": 5})
    }
    assert len(folders_of_servers) == 1  # but not the folder of those whose replicas step together
    assert make_job(make_fn_args(tmp_path, trainer=servers | {"workers": 4})).checkpoint_dir() not in folders | folders_of_servers
    assert not folders & folders_of_servers
    assert make_job(make_fn_args(tmp_path, trainer={"seed": 5})).checkpoint_dir() not in folders
    assert make_job(make_fn_args(tmp_path, model={"dropout": 0.5})).checkpoint_dir() not in folders


def test_a_damaged_record_is_named(make_fn_args, transformed, tmp_path):
    args = make_fn_args(tmp_path)
    shutil.copytree(transformed / "records" / "Split-train", tmp_path / "Split-train")
    args.train_files = [str(tmp_path / "Split-train" / "*")]
    file = sorted((tmp_path / "Split-train").glob("*.tfrecord"))[2]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputDataError, match=f"{file.name} byte 0: the record's checksum is wrong"):
        run_fn(args)
    assert not (tmp_path / "serving").exists()


def test_unknown_key_is_a_config_error(make_fn_args, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.optimiser"):
        run_fn(make_fn_args(tmp_path, trainer={"optimiser": "adam"}))


def test_malformed_tf_config_is_a_config_error(make_fn_args, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        run_fn(make_fn_args(tmp_path, trainer={"strategy": "multi_worker", "workers": 2}))


def test_importing_run_does_not_import_tensorflow():
    code = "import sys, components.trainer.run; sys.exit('tensorflow' in sys.modules or 'tfx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=launch.ROOT).returncode == 0


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
    assert min(abs(log_loss - r["log_loss"]) for r in history(args)) < 1e-5


@pytest.mark.slow  # two processes that each import TensorFlow and build the graph: 20 to 40 s
@pytest.mark.parametrize("losses", [["sigmoid_cross_entropy"], ["softmax", "f1_reweighted"]])
def test_two_workers_equal_one(make_fn_args, tmp_path, monkeypatch, losses):
    """At the same global batch size, with batch norm and clipping: losses and weights to 1e-6."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    exported, reports = [], []
    monkeypatch.setattr(export, "export", lambda model, *rest: exported.append(model.get_weights()))
    monkeypatch.setattr(replay, "check_replay", lambda *args: None)
    monkeypatch.setattr(progress, "_sink", lambda *report: reports.append(report))
    sgd = {"name": "sgd", "learning_rate": 0.1}
    for workers, strategy in ((1, "none"), (2, "multi_worker")):
        trainer = {"strategy": strategy, "workers": workers, "num_epochs": 2, "deep_optimizer": sgd, "export": "latest"}
        trainer |= {"losses": [{"name": name} for name in losses], "gradient_clip_norm": 0.5}
        run_fn(make_fn_args(tmp_path / strategy, model={"batch_norm": True}, trainer=trainer))
    # The last of each is what was served.
    for one, two in zip(exported[len(exported) // 2 - 1], exported[-1], strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)
    records = [history(make_fn_args(tmp_path / s)) for s in ("none", "multi_worker")]
    for one, two in zip(*records, strict=True):
        assert one["step"] == two["step"]
        for key in ("train_loss", "map_at_12", "ndcg_at_12", "log_loss", "auc", "calibration"):
            assert two[key] == pytest.approx(one[key], abs=1e-4 if key == "auc" else 1e-6)  # the AUC is over bins
    assert (tmp_path / "multi_worker" / "run" / "workers" / "worker-1.log").exists()


@pytest.mark.slow
def test_an_error_in_the_workers_is_raised_here(make_fn_args, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    sgd = {"name": "sgd", "learning_rate": 1e30}
    trainer = {"strategy": "multi_worker", "workers": 2, "deep_optimizer": sgd}
    with pytest.raises(ClickrankError, match="at step"):
        run_fn(make_fn_args(tmp_path, trainer=trainer))
    assert not (tmp_path / "serving").exists()
