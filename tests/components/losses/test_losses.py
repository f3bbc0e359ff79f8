"""All losses: against published values, against a slow twin, and for what must not matter."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.trainer.losses import FUNCTIONS, NEEDS_ACROSS
from schemas.config import LossConfig
from schemas.losses import LOSSES
from tests.components.losses import brute_force
from tests.components.losses.strategies import NAMES, OF_LISTS, displays, padded

FEW = settings(max_examples=15, deadline=None)
DEFAULTS = {loss.name: dict(loss.parameters) for loss in LOSSES}
OTHERS = {
    "f1_reweighted": {"beta_square": 0.5625},
    "focal": {"gamma": 0.5, "alpha": 0.25},
    "pairwise_logistic": {"temperature": 2.0, "margin": 0.5},
    "pairwise_hinge": {"margin": 0.25},
    "softmax": {"temperature": 0.5},
    "calibrated_softmax": {"virtual_label": 0.5, "temperature": 2.0},
    "unique_softmax": {"temperature": 2.0},
    "list_mle": {"temperature": 2.0},
    "approx_ndcg": {"temperature": 1.0},
    "approx_mrr": {"temperature": 1.0},
    "jrc": {"alpha": 0.25, "temperature": 2.0},
}

FIVE = {"labels": [[1, 0, 0, 1, 0]], "scores": [[0.6, 0.2, -0.4, -1.0, 1.5]]}
SPLIT = {  # the five as displays of three and two
    "labels": [[1, 0, 0], [1, 0, 9]],
    "scores": [[0.6, 0.2, -0.4], [-1.0, 1.5, 9.0]],
    "mask": [[True] * 3, [True, True, False]],
}
THREE = {"labels": [[1, 0, 0]], "scores": [[0.6, 0.8, 0.2]]}


def value(name, *, labels, scores, **options):
    return float(FUNCTIONS[name](tf.constant(labels, tf.float32), tf.constant(scores, tf.float32), **options).mean)


def gradient(name, *, scores, **options):
    scores = tf.constant(scores, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        total = FUNCTIONS[name](scores=scores, **options).total
    return float(total), tape.gradient(total, scores).numpy()


@pytest.mark.parametrize(
    ("name", "data", "parameters", "expected"),
    [
        ("sigmoid_cross_entropy", FIVE, {}, 0.952663),
        ("softmax_cross_entropy", FIVE, {}, 0.952663),
        ("f1_reweighted", FIVE, {}, 0.952663),
        ("f1_reweighted", FIVE, {"beta_square": 0.5625}, 1.244205),  # a negative weighs 1.483875
        ("f1_reweighted", FIVE, {"beta_square": 4.0}, 0.536339),  # a negative weighs 0.309020
        ("focal", FIVE, {}, 0.443597),
        ("pairwise_logistic", FIVE, {}, 1.191182),  # 6 pairs
        ("pairwise_logistic", FIVE, {"margin": 0.5}, 1.523767),
        ("pairwise_logistic", SPLIT, {}, 1.135056),  # 3 pairs
        ("pairwise_logistic", SPLIT, {"margin": 0.5}, 1.422354),
        ("pairwise_logistic", THREE, {}, 0.655577),
        ("pairwise_hinge", FIVE, {}, 1.633333),
        ("pairwise_hinge", SPLIT, {}, 1.366667),
        ("softmax", THREE, {}, 1.061852),
        ("calibrated_softmax", THREE, {"virtual_label": 1.0}, 3.071254),
        ("approx_ndcg", THREE, {}, -0.651276),
        ("approx_ndcg", THREE, {"temperature": 1.0}, -0.640502),
        ("approx_mrr", THREE, {}, -0.526653),
        ("approx_mrr", THREE, {"temperature": 1.0}, -0.512519),
    ],
)
def test_golden_values(name, data, parameters, expected):
    assert value(name, **data, **parameters) == pytest.approx(expected, abs=1e-5 / 2)


@pytest.mark.parametrize(
    ("name", "labels", "scores", "parameters", "expected"),
    [
        pytest.param("l2", [[1, 0]], [[0.5, 2.0]], {}, (0.25 + 4) / 2, id="l2 is of the logits"),
        pytest.param("sigmoid_l2", [[1, 0]], [[0.0, 0.0]], {}, 0.25, id="sigmoid_l2 at one half"),
        pytest.param("focal", [[1, 0]], [[0.0, 0.0]], {}, math.log(2) / 4, id="focal: (1/2)^2 of the cross entropy"),
        pytest.param("focal", [[1]], [[0.0]], {"alpha": 0.75}, 0.75 * math.log(2) / 4, id="focal: alpha for a positive"),
        pytest.param("focal", [[0]], [[0.0]], {"alpha": 0.75}, 0.25 * math.log(2) / 4, id="focal: 1 - alpha for a negative"),
        pytest.param("focal", [[1, 0]], [[1.0, -1.0]], {"gamma": 0.0}, math.log1p(math.exp(-1)), id="focal, gamma 0"),
        # tp = 1/2, P = 1, beta_square = 1/4: 1/2 / (1/4 + 1/2 - 1) = -2, so the negative weighs nothing.
        pytest.param("f1_reweighted", [[1, 0]], [[-40.0, 0.0]], {"beta_square": 0.25}, 20.0, id="f1: ratio below 0"),
        # tp = 1, P = 1, beta_square = 0.001: 1 / 0.001 = 1000, so the negative weighs 100.
        pytest.param(
            "f1_reweighted", [[1, 0]], [[0.0, 0.0]], {"beta_square": 0.001}, math.log(2) * 101 / 2, id="f1: ratio above 100"
        ),
        pytest.param("pairwise_hinge", [[1, 0]], [[0.6, 0.8]], {}, 1.2, id="hinge: margin and 0.2 short"),
        pytest.param("pairwise_hinge", [[1, 0]], [[2.0, 1.0]], {}, 0.0, id="hinge: right by the margin"),
        pytest.param("pairwise_logistic", [[2, 1, 0]], [[0.0, 0.0, 0.0]], {}, math.log(2), id="levels: three pairs"),
        pytest.param("softmax", [[0, 1, 0, 0]], [[5.0] * 4], {}, math.log(4), id="softmax of equal scores"),
        pytest.param("softmax", [[1, 1, 0, 0]], [[5.0] * 4], {}, 2 * math.log(4), id="softmax of two clicks"),
        pytest.param("calibrated_softmax", [[1, 0, 0]], [[0.0] * 3], {}, math.log(4), id="one more item"),
        # (2^2 - 1) log 3 + (2^1 - 1) log 2, as the levels 1 and 0, and 0, are below.
        pytest.param("unique_softmax", [[2, 1, 0]], [[0.0] * 3], {}, 3 * math.log(3) + math.log(2), id="unique_softmax"),
        pytest.param("unique_softmax", [[1, 1]], [[3.0, -3.0]], {}, 0.0, id="unique_softmax: the equal ones do not compete"),
        pytest.param("list_mle", [[0, 2, 1]], [[0.0] * 3], {}, math.log(6), id="list_mle: one order of six"),
        pytest.param("list_mle", [[1, 0, 0]], [[0.0] * 3], {}, math.log(3) + 2 * math.log(2), id="list_mle: two tied"),
        pytest.param("approx_mrr", [[1, 0, 0]], [[-9.0, 9.0, 9.0]], {}, -1 / 3, id="approx_mrr: third"),
        pytest.param("approx_ndcg", [[1, 0, 0]], [[-9.0, 9.0, 9.0]], {}, -1 / 2, id="approx_ndcg: third"),
        pytest.param("approx_ndcg", [[2, 1, 0]], [[9.0, 0.0, -9.0]], {}, -1.0, id="approx_ndcg: ideal"),
        pytest.param("jrc", [[1, 0]], [[0.0, 0.0]], {}, math.log(2), id="jrc: both parts are log 2"),
        # The entropy of either row is log(1 + e^-2); its share of the display is e^1 / (e^1 + e^-1): the same.
        pytest.param("jrc", [[1, 0]], [[2.0, -2.0]], {}, math.log1p(math.exp(-2)), id="jrc: logits are -s/2 and s/2"),
    ],
)
def test_by_hand(name, labels, scores, parameters, expected):
    assert value(name, labels=labels, scores=scores, **parameters) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", OF_LISTS)
def test_a_display_without_a_click_is_not_counted_except_by_jrc(name):
    data = {"labels": tf.constant([[0.0, 0.0]]), "scores": tf.constant([[1.0, -1.0]])}
    got = FUNCTIONS[name](**data)
    assert float(got.count) == (2.0 if name == "jrc" else 0.0)
    assert (float(got.total) > 0) == (name == "jrc")
    assert float(got.mean) == float(got.total) / 2
    assert gradient(name, **data)[1].any() == (name == "jrc")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameters", [DEFAULTS, OTHERS], ids=["defaults", "others"])
@FEW
@given(displays=displays)
def test_equals_the_twin(name, parameters, displays):
    options = parameters.get(name, {})
    total, count = brute_force.of_displays(name, displays, **options)
    got = FUNCTIONS[name](**padded(displays), **options)
    assert float(got.count) == pytest.approx(count, rel=1e-5)
    assert float(got.total) == pytest.approx(total, rel=2e-4, abs=2e-5)


LEVELS = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.floats(-4, 4, width=32), st.just(1.0)), min_size=1, max_size=5), min_size=1, max_size=3
)


@pytest.mark.parametrize("name", [name for name in OF_LISTS if name != "jrc"])
@FEW
@given(displays=LEVELS)
def test_equals_the_twin_for_labels_of_several_levels(name, displays):
    total, count = brute_force.of_displays(name, displays, **DEFAULTS[name])
    got = FUNCTIONS[name](**padded(displays))
    assert float(got.count) == pytest.approx(count, rel=1e-5)
    assert float(got.total) == pytest.approx(total, rel=2e-4, abs=2e-5)


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(displays=displays, more=st.integers(0, 3))
def test_padding_changes_neither_value_nor_gradient_whatever_is_in_it(name, displays, more):
    size = max(map(len, displays))
    total, slope = gradient(name, **padded(displays))
    padded_total, padded_slope = gradient(name, **padded([*displays, []], size + more, fill=math.nan))
    assert padded_total == pytest.approx(total, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(padded_slope[:-1, :size], slope, rtol=1e-4, atol=1e-6)
    assert not padded_slope[-1].any()
    assert not padded_slope[:, size:].any()


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(displays=displays, data=st.data())
def test_the_order_within_a_display_changes_nothing(name, displays, data):
    orders = [data.draw(st.permutations(range(len(display)))) for display in displays]
    shuffled = [[display[i] for i in order] for display, order in zip(displays, orders, strict=True)]
    total, slope = gradient(name, **padded(displays))
    shuffled_total, shuffled_slope = gradient(name, **padded(shuffled))
    assert shuffled_total == pytest.approx(total, rel=1e-4, abs=1e-5)
    for d, order in enumerate(orders):
        np.testing.assert_allclose(shuffled_slope[d, : len(order)], slope[d][list(order)], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in OF_LISTS if n not in ("calibrated_softmax", "jrc")])
@FEW
@given(displays=displays, shift=st.floats(-8, 8))
def test_only_differences_of_scores_count(name, displays, shift):
    data = padded(displays)
    total, slope = gradient(name, **data)
    shifted, _ = gradient(name, **(data | {"scores": data["scores"] + np.float32(shift)}))
    assert shifted == pytest.approx(total, rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(slope.sum(axis=1), 0, atol=1e-4)


@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "calibrated_softmax", "jrc"])
def test_what_is_calibrated_does_not_only_count_differences(name):
    assert abs(value(name, labels=[[1, 0]], scores=[[5.0, 4.0]]) - value(name, labels=[[1, 0]], scores=[[0.5, -0.5]])) > 0.1


@pytest.mark.parametrize("parameters", [DEFAULTS, OTHERS], ids=["defaults", "others"])
@pytest.mark.parametrize("name", NAMES)
def test_extreme_scores_have_finite_values_and_gradients(name, parameters):
    scores = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [-1e4, -1e4, -1e4]]
    options = {"labels": tf.constant([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]), **parameters.get(name, {})}
    total, slope = gradient(name, scores=scores, **options)
    assert math.isfinite(total)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0, 0), (2, 0), (0, 3), (2, 3)], ids=str)
def test_nothing_but_padding_is_zero(name, shape):
    nothing = np.full(shape, math.nan, np.float32)
    options = {"labels": nothing, "scores": nothing, "weights": nothing, "mask": np.zeros(shape, bool)}
    total, slope = gradient(name, **options)
    assert total == 0.0
    assert not slope.any()
    got = FUNCTIONS[name](**options)
    assert float(got.count) == 0.0
    assert float(got.mean) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_without_masks_and_weights_everything_counts_once(name):
    labels, scores = [[1.0, 0, 0], [0, 0, 1]], [[0.3, -0.2, 1.0], [2.0, 0.1, -1.0]]
    plain = FUNCTIONS[name](tf.constant(labels), tf.constant(scores))
    full = FUNCTIONS[name](tf.constant(labels), tf.constant(scores), mask=tf.ones((2, 3), tf.bool), weights=tf.ones((2, 3)))
    assert plain.total.dtype == plain.count.dtype == tf.float32
    assert [float(x) for x in plain] == [float(x) for x in full]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_differ_are_refused(name):
    with pytest.raises(ValueError, match=r"labels must have the shape of the scores, \(4, 1\). Received: \(4,\)"):
        FUNCTIONS[name](tf.zeros(4), tf.zeros((4, 1)))


@pytest.mark.parametrize("name", OF_LISTS)
def test_a_loss_of_lists_refuses_rows(name):
    with pytest.raises(ValueError, match=r"scores must have shape \(displays, list size\). Received: \(4,\)"):
        FUNCTIONS[name](tf.zeros(4), tf.zeros(4))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in OF_LISTS])
def test_a_loss_of_rows_takes_any_shape(name):
    options = {"labels": FIVE["labels"][0], "scores": FIVE["scores"][0]}
    assert value(name, **options) == pytest.approx(value(name, **FIVE), rel=1e-6)


def test_f1_weights_are_constants_to_the_gradient():
    # beta_square = 1/2, P = 1, tp = 1: a negative weighs 1 / (1/2) = 2, and has the slope 2 sigmoid(0).
    _, slope = gradient("f1_reweighted", labels=tf.constant([1.0, 0.0]), scores=[0.0, 0.0], beta_square=0.5)
    np.testing.assert_allclose(slope, [-0.5, 1.0], rtol=1e-6)


def test_f1_sums_over_replicas():
    # The other replica has P = 1 and tp = 1, this one P = 0 and tp = 1/2: 1.5 / (4 * 1 + 1.5 - 1) = 1/3.
    got = FUNCTIONS["f1_reweighted"](
        tf.constant([0.0]), tf.constant([0.0]), beta_square=4.0, across=lambda sums: sums + tf.constant([1.0, 1.0])
    )
    assert float(got.mean) == pytest.approx(math.log(2) / 3, rel=1e-6)


def test_functions_table_and_configuration_agree():
    assert set(FUNCTIONS) == {loss.name for loss in LOSSES}
    assert set(FUNCTIONS) >= NEEDS_ACROSS
    for loss in LOSSES:
        config = LossConfig(name=loss.name)
        assert config.parameters == loss.parameters
        function = FUNCTIONS[loss.name]
        given = dict(function.__kwdefaults__)
        assert (given.pop("mask"), given.pop("weights")) == (None, None)
        assert ("across" in given) == (loss.name in NEEDS_ACROSS)
        given.pop("across", None)
        assert given == loss.parameters
    module = {loss.name: FUNCTIONS[loss.name].__module__.rpartition(".")[2] for loss in LOSSES}
    units = {"row": "pointwise", "pair": "pairwise", "display": "listwise"}
    assert module == {loss.name: units[loss.unit] for loss in LOSSES}


def test_only_the_losses_marked_negative_are():
    for loss in LOSSES:
        assert (value(loss.name, **THREE) < 0) == loss.is_negative
