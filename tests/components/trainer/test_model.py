import zlib
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.model import build_model
from components.trainer.scorers.wide_deep import Wide, cross
from schemas import features
from schemas.config import ModelConfig
from schemas.features import Feature
from tests.components.trainer.scorers_by_hand import AD, AGE, FEATURES, HOUR, THREE_ROWS, batch, randomize, randomized


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


def test_a_cross_has_a_weight_for_each_combination():
    wide = Wide(FEATURES, [("ad", "hour")], cross_buckets=20)
    wide(THREE_ROWS)
    wide.cross_tables["ad_x_hour"].assign(np.arange(20, dtype=np.float32)[:, None])
    inputs = batch(ad=[3, 3, -1, 2], topics=[[-1] * 3] * 4, hour=[1, -1, 1, 0], age=[0.0] * 4, ctr=[0.0] * 4)
    np.testing.assert_allclose(wide(inputs), [3 * HOUR.buckets + 1, 0, 0, 2 * HOUR.buckets])


def test_more_combinations_than_buckets_are_hashed_evenly():
    big = replace(AD, buckets=100_000)
    ads, hours = np.meshgrid(np.arange(50_000), np.arange(HOUR.buckets))
    ids = cross(big, HOUR, {"ad": tf.constant(ads.ravel()), "hour": tf.constant(hours.ravel())}, 1000).numpy()
    counts = np.bincount(ids, minlength=1000)
    assert len(counts) == 1000
    assert counts.std() < 3 * counts.mean() ** 0.5


def test_deep_is_the_network_by_hand():
    model = randomized("deep")
    deep = model.deep
    topics = deep.embeddings.tables["topics"].numpy()
    x = np.concatenate([deep.embeddings.tables["ad"].numpy()[3], (topics[0] + topics[2]) / 2, [0, 1, 0], [0.3, 0.7]])
    hidden = np.maximum(x @ deep.tower._first[0].kernel.numpy() + deep.tower._first[0].bias.numpy(), 0)
    expected = hidden @ deep.tower._rest[0].kernel.numpy() + deep.tower._rest[0].bias.numpy()
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
    tables = [v for v in model.trainable_variables if f"/{name}:" in v.name]
    with tf.GradientTape() as tape:
        tape.watch(tables)
        logit = model(inputs)
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
    table = model.deep.embeddings.tables["big"].numpy()
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


GOLDEN = {
    # kind: CRC-32 of the initial weights at seed 7, in their order; logits of THREE_ROWS with them, and with `randomize(model, 5)`
    "wide_deep": (2813783123, (-0.1410895, 0.0083138, 0.0114671), (-6.6351776, 0.0874449, -0.4927670)),
    "wide": (68323592, (0.0, 0.0, 0.0), (-1.9730408, -0.2577237, -0.5096309)),
    "deep": (3213586059, (-0.1410895, 0.0083138, 0.0114671), (2.3697131, 3.0324626, 3.3250325)),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_weights_and_logits_are_those_of_before(kind):
    crc, first, other = GOLDEN[kind]
    model = build_model(FEATURES, ModelConfig(kind=kind, hidden_units=(8, 4)), seed=7)
    assert zlib.crc32(b"".join(w.tobytes() for w in model.get_weights())) == crc
    np.testing.assert_allclose(model(THREE_ROWS), first, atol=1e-6)
    np.testing.assert_allclose(randomize(model, 5)(THREE_ROWS), other, atol=1e-5)


@pytest.mark.parametrize("kind", ["wide_deep", "wide", "deep", "dnn", "gam"])
def test_every_trainable_variable_has_one_optimizer(kind):
    options = {} if kind == "wide" else {"batch_norm": True, "input_batch_norm": True}
    model = build_model(FEATURES, ModelConfig(kind=kind, hidden_units=(4,), **options))
    wide, deep = ({id(v) for v in part} for part in (model.wide_variables, model.deep_variables))
    assert not wide & deep
    assert wide | deep == {id(v) for v in model.trainable_variables}
    assert bool(wide) == (kind in ("wide", "wide_deep"))
    assert bool(deep) == (kind != "wide")
    assert bool(model.non_trainable_variables) == (kind != "wide")


def test_features_of_one_part_only():
    wide_only = Feature("w", "item", "id", "int64", "", buckets=3, embedding_dim=2, deep=False)
    deep_only = Feature("d", "item", "id", "int64", "", buckets=3, embedding_dim=2, wide=False)
    model = build_model((wide_only, deep_only, AGE), ModelConfig(hidden_units=(4,)))
    assert set(model.wide.tables) == {"w"}
    assert set(model.deep.embeddings.tables) == {"d"}


def test_dnn_sees_what_only_wide_would_see():
    wide_only = Feature("w", "item", "id", "int64", "", buckets=3, embedding_dim=2, deep=False)
    model = build_model((wide_only, AGE), ModelConfig(kind="dnn", hidden_units=(4,)))
    assert set(model.deep.embeddings.tables) == {"w"}
    assert model({"w": tf.constant([0, 2, -1], tf.int64), "age": tf.zeros(3)}).shape == (3,)


def test_dnn_without_its_options_is_deep():
    config = {"hidden_units": (4, 3)}
    dnn, deep = (build_model(FEATURES, ModelConfig(kind=kind, **config), 3) for kind in ("dnn", "deep"))
    np.testing.assert_array_equal(dnn(THREE_ROWS), deep(THREE_ROWS))
