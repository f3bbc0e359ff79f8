import math
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.input import Batch
from components.trainer.model import build_model
from components.trainer.optimizers import make_optimizer
from components.trainer.training import auc, fit, make_evaluate, make_train_step
from schemas.config import ModelConfig, OptimizerConfig
from schemas.errors import ClickrankError, InputDataError
from schemas.features import Feature

AD = Feature("ad", "item", "id", "int64", "", buckets=5, embedding_dim=2)
AGE = Feature("age", "item", "numeric", "float32", "", missing="zero")
STRATEGY = tf.distribute.get_strategy()


def make_batch(ad, age, label, weight=None):
    weight = [1.0] * len(ad) if weight is None else weight
    inputs = {"ad": tf.constant(ad, tf.int64), "age": tf.constant(age, tf.float32)}
    return Batch(inputs, tf.constant(label, tf.float32), tf.constant(weight), tf.constant(int(sum(weight)), tf.int64))


BATCH = make_batch([0, 3, 3, -1], [0.1, 0.9, 0.4, 0.0], [0.0, 1.0, 0.0, 1.0])


def make_optimizers(*rates):
    return [make_optimizer(OptimizerConfig(name="sgd", learning_rate=rate)) for rate in rates]


def build(kind="wide_deep", wide_rate=0.5, deep_rate=0.25):
    model = build_model((AD, AGE), ModelConfig(kind=kind, hidden_units=(4,)))
    return model, make_train_step(model, *make_optimizers(wide_rate, deep_rate), STRATEGY)


def mean_loss(model, batch):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(batch.label, model(batch.features)))


def test_each_optimizer_updates_its_part():
    model, step = build()
    with tf.GradientTape() as tape:
        loss = mean_loss(model, BATCH)
    gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, model.trainable_variables)]
    rates = [0.5 if v.name.startswith("clickrank/wide") or "wide/" in v.name else 0.25 for v in model.trainable_variables]
    assert sorted(set(rates)) == [0.25, 0.5]
    expected = [v.numpy() - r * g for v, r, g in zip(model.trainable_variables, rates, gradients, strict=True)]
    assert float(step(BATCH, BATCH.rows)) == pytest.approx(float(loss), rel=1e-6)
    for variable, want in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), want, atol=1e-6, err_msg=variable.name)


@pytest.mark.parametrize("kind", ["wide", "deep"])
def test_one_part_alone_learns(kind):
    _, step = build(kind)
    losses = [float(step(BATCH, BATCH.rows)) for _ in range(30)]
    assert losses[-1] < losses[0] - 0.05


def test_padding_changes_nothing():
    padded = make_batch([0, 3, 3, -1, 2, 0], [0.1, 0.9, 0.4, 0.0, 5.0, 0.0], [0.0, 1, 0, 1, 1, 0], [1.0, 1, 1, 1, 0, 0])
    (plain, step), (other, padded_step) = build(), build()
    assert float(step(BATCH, BATCH.rows)) == pytest.approx(float(padded_step(padded, padded.rows)), rel=1e-6)
    for a, b in zip(plain.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_a_row_of_a_short_batch_weighs_as_much_as_any_other():
    model, step = build("wide")
    step(BATCH, tf.constant(400, tf.int64))
    full, full_step = build("wide")
    full_step(BATCH, BATCH.rows)
    for short, whole in zip(model.get_weights(), full.get_weights(), strict=True):
        np.testing.assert_allclose(short, whole / 100, atol=1e-8)


def test_auc_by_hand():
    # bins:   0  1  2
    assert auc(np.array([1, 0, 0]), np.array([0, 0, 1])) == 1.0
    assert auc(np.array([0, 0, 1]), np.array([1, 0, 0])) == 0.0
    assert auc(np.array([1, 1, 0]), np.array([0, 1, 1])) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert math.isnan(auc(np.array([0, 2]), np.array([0, 0])))


def test_evaluate_is_over_all_rows_not_over_batches():
    model, step = build()
    for _ in range(5):
        step(BATCH, BATCH.rows)
    head, tail = make_batch([0, 3, 3], [0.1, 0.9, 0.4], [0.0, 1, 0]), make_batch([-1, 1], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0])
    log_loss, area = make_evaluate(model, STRATEGY)([head, tail])
    scores = tf.sigmoid(model(BATCH.features)).numpy()
    labels = BATCH.label.numpy()
    assert log_loss == pytest.approx(-np.mean(np.log(np.where(labels == 1, scores, 1 - scores))), rel=1e-5)
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    assert area == pytest.approx(np.mean(pairs), abs=1e-6)


def test_evaluate_nothing():
    model, _ = build()
    with pytest.raises(InputDataError, match="eval split"):
        make_evaluate(model, STRATEGY)([])


class FakeModel:
    weights = 0

    def get_weights(self):
        return [np.array(self.weights)]


def run_fit(model, losses, evals, epochs=3, batches=2, on_epoch=lambda record: None):
    losses, evals = iter(losses), iter(evals)

    def step(batch, full_rows):
        model.weights += 1
        return next(losses)

    data = [SimpleNamespace(rows=tf.constant(n, tf.int64)) for n in (4, 1)][:batches]
    return fit(model, step, lambda batches: next(evals), lambda epoch: data, [], epochs, on_epoch)


def test_fit_keeps_the_best_epoch():
    records = []
    fitted = run_fit(FakeModel(), [1.0, 2.0] * 3, [(0.5, 0.6), (0.4, 0.7), (0.45, 0.8)], on_epoch=records.append)
    assert fitted.best_epoch == 2
    assert fitted.weights[0] == 4  # after two epochs of two steps
    assert tuple(records) == fitted.history
    assert [r.steps for r in records] == [2, 4, 6]
    assert records[0].train_loss == pytest.approx((4 * 1.0 + 1 * 2.0) / 5)
    assert [r.eval_auc for r in records] == [0.6, 0.7, 0.8]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_fit_stops_at_the_step_whose_loss_is_not_finite(bad):
    with pytest.raises(ClickrankError, match=r"step 4 \(epoch 2\)"):
        run_fit(FakeModel(), [1.0, 1.0, 1.0, bad], [(0.5, 0.5)] * 3)


def test_fit_without_a_finite_eval_loss():
    with pytest.raises(ClickrankError, match="eval log loss is nan"):
        run_fit(FakeModel(), [1.0] * 2, [(math.nan, 0.5)])


def test_fit_without_rows():
    with pytest.raises(InputDataError, match="train split"):
        run_fit(FakeModel(), [], [], batches=0)
