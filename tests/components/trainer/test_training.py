import numpy as np
import pytest
import tensorflow as tf

from components.trainer.input import Batch
from components.trainer.losses.mix import LossMix
from components.trainer.model import build_model
from components.trainer.optimizers import make_optimizer
from components.trainer.training import Parts, make_evaluate, make_train_step
from schemas.config import LossConfig, ModelConfig, OptimizerConfig
from schemas.features import Feature
from schemas.records import LABEL, record_layout

AD = Feature("ad", "item", "id", "int64", "", buckets=5, embedding_dim=2)
AGE = Feature("age", "item", "numeric", "float32", "", missing="zero")
LAYOUT = record_layout((AD, AGE))
STRATEGY = tf.distribute.get_strategy()


def make_batch(ad, age, label, display=()):
    columns = {"ad": np.array(ad), "age": np.array(age, np.float32), LABEL: np.array(label, int)}
    blocks = {dtype: [columns[c.name].astype(dtype) for c in LAYOUT.columns if c.block == dtype] for dtype in LAYOUT.widths}
    return Batch({dtype: tf.constant(np.stack(block, axis=1)) for dtype, block in blocks.items()}, tf.constant(display, tf.int32))


AD_IDS, AGES, LABELS = [0, 3, 3, -1], [0.1, 0.9, 0.4, 0.0], [0.0, 1.0, 0.0, 1.0]
BATCH = make_batch(AD_IDS, AGES, LABELS, [0, 0, 1, 1])
INPUTS = {"ad": tf.constant(AD_IDS), "age": tf.constant(AGES)}


def build(kind="wide_deep", wide_rate=0.5, deep_rate=0.25, losses=("sigmoid_cross_entropy",), loss_weights="fixed", **more):
    model = build_model((AD, AGE), ModelConfig(kind=kind, hidden_units=(4,)))
    optimizers = [make_optimizer(OptimizerConfig(name="sgd", learning_rate=r)) for r in (wide_rate, deep_rate)]
    mix = LossMix([LossConfig(name=name) for name in losses], loss_weights)
    parts = Parts(model, *optimizers, mix, float16=more.pop("float16", False))
    return parts, make_train_step(parts, STRATEGY, LAYOUT, **{"full_rows": 4, **more})


def mean_loss(model):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.constant(LABELS), model(INPUTS)))


def gradients(model):
    with tf.GradientTape() as tape:
        tape.watch(model.trainable_variables)
        loss = mean_loss(model)
    return loss, [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, model.trainable_variables)]


@pytest.mark.parametrize("float16", [False, True])
def test_each_optimizer_updates_its_part(float16):
    parts, step = build(float16=float16)
    model = parts.model
    loss, slopes = gradients(model)
    wide = {id(v) for v in model.wide_variables}
    rates = [0.5 if id(v) in wide else 0.25 for v in model.trainable_variables]
    assert sorted(set(rates)) == [0.25, 0.5]
    expected = [v.numpy() - r * g for v, r, g in zip(model.trainable_variables, rates, slopes, strict=True)]
    value, rows = step([BATCH], 0)
    assert float(value) == pytest.approx(float(loss), rel=1e-6)
    assert float(rows) == 4
    for variable, want in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), want, atol=1e-6, err_msg=variable.name)


@pytest.mark.parametrize("kind", ["wide", "deep"])
def test_one_part_alone_learns(kind):
    _, step = build(kind)
    losses = [float(step([BATCH], i)[0]) for i in range(30)]
    assert losses[-1] < losses[0] - 0.05


def test_a_row_of_a_short_batch_weighs_as_much_as_any_other():
    short, short_step = build("wide", full_rows=400)
    value, _ = short_step([BATCH], 0)
    full, full_step = build("wide")
    expected, _ = full_step([BATCH], 0)
    assert float(value) == pytest.approx(float(expected))
    for one, other in zip(short.model.get_weights(), full.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other / 100, atol=1e-8)


def test_a_batch_without_rows_changes_nothing():
    parts, step = build()
    before = parts.model.get_weights()
    value, rows = step([make_batch([], [], [])], 0)
    assert (float(value), float(rows)) == (0, 0)
    for one, other in zip(parts.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradients_are_clipped_together():
    parts, step = build(wide_rate=1.0, deep_rate=1.0, clip_norm=0.01)
    before = parts.model.get_weights()
    step([BATCH], 0)
    change = [a - b for a, b in zip(parts.model.get_weights(), before, strict=True)]
    assert sum((c**2).sum() for c in change) ** 0.5 == pytest.approx(0.01, rel=1e-4)


def test_losses_within_displays_see_which_rows_belong_together():
    parts, step = build(losses=("softmax",))
    logits = parts.model(INPUTS).numpy()
    value, _ = step([BATCH], 0)
    pairs = [(logits[1], logits[0]), (logits[3], logits[2])]
    assert float(value) == pytest.approx(np.mean([np.log1p(np.exp(other - clicked)) for clicked, other in pairs]), rel=1e-5)


def test_learned_weights_of_losses_are_trained():
    parts, step = build(losses=("softmax", "sigmoid_cross_entropy"), loss_weights="uncertainty")
    step([BATCH], 0)
    assert all(float(v) != 0 for v in parts.losses.trainable_variables)


class OneEpoch:
    def __init__(self, *batches):
        self._batches = batches

    def epoch(self):
        return iter(self._batches)


def test_evaluate_is_over_all_rows_not_over_batches():
    parts, step = build()
    for i in range(5):
        step([BATCH], i)
    whole = make_evaluate(parts.model, STRATEGY, LAYOUT, [OneEpoch(BATCH)])()
    halves = [make_batch(AD_IDS[i : i + 2], AGES[i : i + 2], LABELS[i : i + 2], [0, 0]) for i in (0, 2)]
    parted = make_evaluate(parts.model, STRATEGY, LAYOUT, [OneEpoch(*halves)])()
    scores = tf.sigmoid(parts.model(INPUTS)).numpy()
    labels = np.array(LABELS)
    assert whole.log_loss == pytest.approx(-np.mean(np.log(np.where(labels == 1, scores, 1 - scores))), rel=1e-5)
    for name in whole.__slots__:
        assert getattr(parted, name) == pytest.approx(getattr(whole, name), rel=1e-6)
