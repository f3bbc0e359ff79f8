import numpy as np
import pytest
import tensorflow as tf

from components.trainer.model import build_model
from schemas import features
from schemas.config import ModelConfig
from schemas.features import Feature

AD = Feature("ad", "item", "id", "int64", "", buckets=5, embedding_dim=2)
TOPICS = Feature("topics", "item", "ids", "int64", "", buckets=4, embedding_dim=3, hotness=3)
HOUR = Feature("hour", "request", "indicator", "int64", "", buckets=3)
AGE = Feature("age", "item", "numeric", "float32", "", missing="zero")
CTR = Feature("ctr", "item", "numeric", "float32", "", missing="zero")
FEATURES = (AD, AGE, TOPICS, HOUR, CTR)


def batch(ad=(-1,), topics=((-1, -1, -1),), hour=(-1,), age=(0.0,), ctr=(0.0,)):
    return {
        "ad": tf.constant(ad, tf.int64),
        "topics": tf.constant(topics, tf.int64),
        "hour": tf.constant(hour, tf.int64),
        "age": tf.constant(age, tf.float32),
        "ctr": tf.constant(ctr, tf.float32),
    }


def randomized(kind="wide_deep", hidden=(4,)):
    model = build_model(FEATURES, ModelConfig(kind=kind, hidden_units=hidden))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def test_wide_is_the_sum_of_its_weights():
    wide = build_model(FEATURES, ModelConfig(kind="wide")).wide
    wide.bias.assign(0.5)
    wide.tables["ad"].assign([[1.0], [2.0], [3.0], [4.0], [5.0]])
    wide.tables["topics"].assign([[10.0], [20.0], [30.0], [40.0]])
    wide.tables["hour"].assign([[100.0], [200.0], [300.0]])
    wide.numeric.assign([-1.0, 2.0])  # age, ctr
    inputs = batch(ad=[3, -1], topics=[[0, 2, 2], [1, -1, -1]], hour=[1, -1], age=[3.0, 0.0], ctr=[0.25, 1.0])
    expected = [0.5 + 4 + 10 + 30 + 30 + 200 - 3 + 0.5, 0.5 + 20 + 2.0]
    np.testing.assert_allclose(wide(inputs), expected, rtol=1e-6)


def test_deep_is_the_network_by_hand():
    model = randomized("deep")
    deep = model.deep
    topics = deep.tables["topics"].numpy()
    x = np.concatenate([deep.tables["ad"].numpy()[3], (topics[0] + topics[2]) / 2, [0, 1, 0], [0.3, 0.7]])
    hidden = np.maximum(x @ deep._hidden[0].kernel.numpy() + deep._hidden[0].bias.numpy(), 0)
    expected = hidden @ deep._output.kernel.numpy() + deep._output.bias.numpy()
    got = model(batch(ad=[3], topics=[[0, 2, -1]], hour=[1], age=[0.3], ctr=[0.7]))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_logit_is_wide_plus_deep():
    model = randomized()
    inputs = batch(ad=[1], topics=[[1, -1, -1]], hour=[2], age=[0.5], ctr=[0.1])
    np.testing.assert_allclose(model(inputs), model.wide(inputs) + model.deep(inputs), rtol=1e-6)


@pytest.mark.parametrize("name", ["ad", "topics", "hour"])
def test_a_missing_value_contributes_exactly_nothing(name):
    model = randomized()
    inputs = batch(ad=[1], topics=[[1, 2, 3]], hour=[2], age=[0.5], ctr=[0.1])
    inputs[name] = -tf.ones_like(inputs[name])
    before = model(inputs).numpy()
    with tf.GradientTape() as tape:
        logit = model(inputs)
    tables = [v for v in model.trainable_variables if f"/{name}:" in v.name]
    gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(logit, tables)]
    assert len(tables) == (1 if name == "hour" else 2)
    assert not any(g.any() for g in gradients)
    for table in tables:
        table.assign(table * 100.0 + 7.0)
    np.testing.assert_array_equal(model(inputs), before)


def test_padding_is_masked():
    model = randomized()
    one = model(batch(topics=[[2, -1, -1]]))
    np.testing.assert_array_equal(model(batch(topics=[[-1, -1, 2]])), one)
    assert abs(model(batch(topics=[[2, 0, -1]])) - one)[0] > 1e-3


def test_initial_weights():
    big = Feature("big", "item", "id", "int64", "", buckets=20_000, embedding_dim=16)
    model = build_model((big, AGE), ModelConfig(hidden_units=(8,)))
    assert not any(w.numpy().any() for w in model.wide.weights)
    table = model.deep.tables["big"].numpy()
    # A normal truncated at two standard deviations has 0.880 of the standard deviation.
    assert table.std() == pytest.approx(0.880 * 16**-0.5, rel=0.01)
    assert abs(table).max() <= 2 * 16**-0.5


def test_the_seed_determines_the_initial_weights():
    config = ModelConfig(hidden_units=(4,))
    first, second, other = (build_model(FEATURES, config, seed).get_weights() for seed in (3, 3, 4))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_number_of_parameters_of_the_full_model():
    """Wide: a bias, buckets, numbers; deep: 5 x 1024 over the concatenation. Counted by hand from the feature table."""
    model = build_model(features.model_inputs(max_buckets=7, max_embedding_dim=2), ModelConfig())
    ids, indicators, numbers = 11 + 6, 6 + 3 + 3 + 2 + 2, 32
    assert model.wide.count_params() == 1 + ids * 7 + indicators + numbers
    width = ids * 2 + indicators + numbers
    assert model.deep.count_params() == ids * 7 * 2 + width * 1024 + 1024 + 4 * (1024 * 1024 + 1024) + 1024 + 1


@pytest.mark.parametrize(("kind", "parts"), [("wide", (True, False)), ("deep", (False, True)), ("wide_deep", (True, True))])
def test_kind(kind, parts):
    model = build_model(FEATURES, ModelConfig(kind=kind, hidden_units=(4,)))
    assert (model.wide is not None, model.deep is not None) == parts
    assert model(batch()).shape == (1,)


def test_dropout_only_in_training():
    model = build_model(FEATURES, ModelConfig(kind="deep", hidden_units=(64,), dropout=0.5))
    inputs = batch(ad=[1], age=[0.5])
    np.testing.assert_array_equal(model(inputs), model(inputs, training=False))
    assert model(inputs, training=True)[0] != model(inputs)[0]


def test_features_of_one_part_only():
    wide_only = Feature("w", "item", "id", "int64", "", buckets=3, embedding_dim=2, deep=False)
    deep_only = Feature("d", "item", "id", "int64", "", buckets=3, embedding_dim=2, wide=False)
    model = build_model((wide_only, deep_only, AGE), ModelConfig(hidden_units=(4,)))
    assert set(model.wide.tables) == {"w"}
    assert set(model.deep.tables) == {"d"}
