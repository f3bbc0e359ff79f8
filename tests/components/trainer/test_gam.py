from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.model import build_model
from schemas import features
from schemas.config import ModelConfig
from schemas.errors import ConfigError
from tests.components.trainer.scorers_by_hand import AGE, CTR, FEATURES, HOUR, THREE_ROWS, TOPICS, randomized
from tests.components.trainer.test_training import BATCH, build, mean_loss

COUNTRY = replace(HOUR, name="country")


def gam(inputs=FEATURES, **config):
    return build_model(inputs, ModelConfig(kind="gam", **config))


def test_without_hidden_layers_it_is_a_weighted_sum_by_hand():
    """f_age(x) = 2x + 1, f_ctr(x) = -x; g_hour votes (ln 3, 0) at hour 0 and (0, 0) at no hour."""
    model = gam((AGE, CTR, HOUR), gam_hidden_units=())
    item, request = model.item_towers._first[0], model.request_towers._first[0]
    item.kernel.assign([[[2.0]], [[-1.0]]])
    item.bias.assign([[[1.0]], [[0.0]]])
    request.kernel.assign([[[np.log(3.0), 0.0], [5.0, 5.0], [5.0, 5.0]]])
    inputs = {"age": tf.constant([1.0, 1.0]), "ctr": tf.constant([0.5, 0.5]), "hour": tf.constant([0, -1], tf.int64)}
    np.testing.assert_allclose(model.sub_scores(inputs), [[0.75 * 3, 0.25 * -0.5], [0.5 * 3, 0.5 * -0.5]], rtol=1e-6)
    np.testing.assert_allclose(model(inputs), [2.125, 1.25], rtol=1e-6)


def test_every_request_feature_adds_its_weights():
    model = gam((AGE, CTR, HOUR, COUNTRY), gam_hidden_units=())
    for variable in model.request_towers.weights:
        variable.assign(tf.zeros_like(variable))  # softmax of equals: 1/2 each, twice
    alone = gam((AGE, CTR), gam_hidden_units=())
    alone.set_weights(model.item_towers.get_weights())
    inputs = {
        "age": tf.constant([2.0]),
        "ctr": tf.constant([0.5]),
        **dict.fromkeys(("hour", "country"), tf.constant([1], tf.int64)),
    }
    np.testing.assert_allclose(model.sub_scores(inputs), alone.sub_scores(inputs), rtol=1e-6)


def test_sub_scores_sum_to_the_logit():
    model = randomized("gam")
    scores = model.sub_scores(THREE_ROWS)
    assert scores.shape == (3, 4)
    np.testing.assert_allclose(tf.reduce_sum(scores, axis=1), model(THREE_ROWS), rtol=1e-6)


@pytest.mark.parametrize("name", ["ad", "topics", "age", "ctr"])
def test_a_sub_score_depends_on_its_feature_alone(name):
    model = randomized("gam", activation="tanh")
    assert {f.name for f in model.item_features} == {"ad", "topics", "age", "ctr"}
    changed = {**THREE_ROWS, name: THREE_ROWS[name] + 1}
    changed = {n: tf.minimum(v, 3) for n, v in changed.items()}
    kept = {n: tf.minimum(v, 3) for n, v in THREE_ROWS.items()}
    differs = (abs(model.sub_scores(changed) - model.sub_scores(kept)).numpy() > 1e-6).any(axis=0)
    assert [f.name for f, d in zip(model.item_features, differs, strict=True) if d] == [name]


def test_a_request_feature_changes_weights_not_signs():
    model = randomized("gam")
    one, other = (model.sub_scores({**THREE_ROWS, "hour": tf.constant([h] * 3, tf.int64)}).numpy() for h in (0, 1))
    assert (one != other).all()
    np.testing.assert_array_equal(np.sign(one), np.sign(other))


def test_the_default_features_make_a_stack_for_each_width():
    inputs = features.model_inputs(max_buckets=7, max_embedding_dim=4)
    model = gam(inputs, gam_hidden_units=(3,))
    item = [f for f in inputs if f.level == "item"]
    assert len(model.item_features) == len(item)
    widths = sum(f.embedding_dim or f.buckets or 1 for f in item)
    assert model.item_towers.count_params() == widths * 3 + len(item) * (3 + 3 + 1)


def test_it_learns():
    parts, step = build("gam")
    before = float(mean_loss(parts.model))
    for i in range(30):
        step([BATCH], i)
    assert float(mean_loss(parts.model)) < before - 0.05


def test_features_of_requests_alone_rank_nothing():
    with pytest.raises(ConfigError, match="scores features of items"):
        gam((HOUR,))
    assert gam((TOPICS, HOUR)).sub_scores(THREE_ROWS).shape == (3, 1)
