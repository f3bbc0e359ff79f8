import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.trainer.losses.mix import LossMix
from schemas.config import LossConfig
from tests.components.losses import brute_force
from tests.components.losses.strategies import NAMES, OF_LISTS, displays, flat


def mix(*losses, learned=False):
    return LossMix([LossConfig(**loss) for loss in losses], "uncertainty" if learned else "fixed")


def share(module, displays, padding=0, **options):
    """The objective of one replica and its gradients: by display and by uncertainty."""
    labels, logits, weights, display = (tf.constant(np.pad(x, [0, padding])) for x in flat(displays))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = module(labels, logits, weights, display, **options)
    of_logits, of_uncertainties = tape.gradient(objective, [logits, list(module.trainable_variables)])
    return float(objective), tf.convert_to_tensor(of_logits).numpy(), [float(x) for x in of_uncertainties]


def on_two_replicas(module, halves, padding):
    """Shares of two replicas whose `across` adds up what the two gave it."""
    given = [[], []]

    def record(replica):
        return lambda x: given[replica].append(x) or x

    # What `across` is given does not depend on what it returns, so it can be collected first.
    for replica, half in enumerate(halves):
        share(module, half, padding, across=record(replica), replicas=2)
    shares = []
    for half in halves:
        sums = iter([a + b for a, b in zip(*given, strict=True)])
        shares.append(share(module, half, padding, across=lambda _, sums=sums: next(sums), replicas=2))
        assert next(sums, None) is None
    return shares


CLICKED = [[(1.0, 0.5, 1.0), (0.0, -1.0, 1.0)], [(0.0, 2.0, 1.0), (1.0, 0.0, 1.0), (0.0, 0.25, 1.0)]]


def test_one_loss_is_its_mean():
    rows = [row for display in CLICKED for row in display]
    expected = sum(brute_force.cross_entropy(y, s) for y, s, _ in rows) / 5
    assert share(mix({"name": "sigmoid_cross_entropy"}), CLICKED)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10, deadline=None)
@given(displays=displays)
def test_each_loss_equals_the_twin(name, displays):
    config = LossConfig(name=name)
    total, count = brute_force.of_displays(name, displays, **config.parameters)
    assert share(LossMix([config]), displays, padding=2)[0] == pytest.approx(total / count if count else 0, rel=2e-4, abs=2e-5)


def test_weights_and_parameters_are_those_of_the_configuration():
    losses = [{"name": "softmax", "weight": 2.0, "temperature": 0.5}, {"name": "l2", "weight": 0.25}]
    softmax = np.divide(*brute_force.of_displays("softmax", CLICKED, temperature=0.5))
    l2 = np.divide(*brute_force.of_displays("l2", CLICKED))
    module = mix(*losses)
    assert share(module, CLICKED)[0] == pytest.approx(2 * softmax + 0.25 * l2, rel=1e-5)
    assert list(module.trainable_variables) == []


@pytest.mark.parametrize("learned", [False, True])
@settings(max_examples=15, deadline=None)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    first=displays,
    second=displays,
    padding=st.integers(0, 2),
)
@example(names=["f1_reweighted", "jrc", "pairwise_logistic"], first=CLICKED[:1], second=CLICKED[1:], padding=1)
def test_shares_of_two_replicas_add_up_to_the_whole_batch(learned, names, first, second, padding):
    losses = [{"name": name, "weight": 1 + i / 8} for i, name in enumerate(names)]
    for loss in losses:
        if loss["name"] == "f1_reweighted":
            loss["beta_square"] = 2.0
    module = mix(*losses, learned=learned)
    for i, variable in enumerate(module.trainable_variables):
        variable.assign(i / 10 - 0.5)
    whole, slope, of_uncertainties = share(module, first + second)
    (a, slope_a, uncertainties_a), (b, slope_b, uncertainties_b) = on_two_replicas(module, [first, second], padding)
    assert a + b == pytest.approx(whole, rel=1e-4, abs=1e-5)
    rows = [sum(map(len, half)) for half in (first, second)]
    np.testing.assert_allclose(np.concatenate([slope_a[: rows[0]], slope_b[: rows[1]]]), slope, rtol=1e-3, atol=1e-5)
    assert not slope_a[rows[0] :].any()
    np.testing.assert_allclose(np.add(uncertainties_a, uncertainties_b), of_uncertainties, rtol=1e-3, atol=1e-5)


def test_across_gets_constants_only():
    module = mix({"name": "f1_reweighted"}, {"name": "jrc"})
    logits = tf.constant([0.0, 1.0])
    seen = []
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        module(tf.constant([1.0, 0.0]), logits, tf.ones(2), tf.zeros(2, tf.int32), across=lambda x: seen.append(x) or x)
    assert len(seen) == 2
    assert [tape.gradient(x, logits) for x in seen] == [None, None]


def test_learned_weights():
    # u = ln 2 and ln 4 by weights 3 and 1: 3 (L1 / 2 + ln 2 / 2) + (L2 / 2 / 4 + ln 4 / 2); the squared error counts half.
    module = mix({"name": "softmax", "weight": 3.0}, {"name": "sigmoid_l2"}, learned=True)
    assert [(v.shape.rank, float(v)) for v in module.trainable_variables] == [(0, 0.0), (0, 0.0)]
    softmax = np.divide(*brute_force.of_displays("softmax", CLICKED, temperature=1.0))
    brier = np.divide(*brute_force.of_displays("sigmoid_l2", CLICKED))
    assert share(module, CLICKED)[0] == pytest.approx(3 * softmax + brier / 2, rel=1e-5)
    for variable, u in zip(module.trainable_variables, (math.log(2), math.log(4)), strict=True):
        variable.assign(u)
    value, _, slopes = share(module, CLICKED)
    assert value == pytest.approx(3 * (softmax / 2 + math.log(2) / 2) + brier / 8 + math.log(4) / 2, rel=1e-5)
    assert slopes == pytest.approx([3 * (1 / 2 - softmax / 2), 1 / 2 - brier / 8], rel=1e-5)


def test_a_batch_of_padding_is_zero():
    losses = [{"name": name} for name in NAMES]
    labels, logits = tf.fill([3], math.nan), tf.fill([3], math.nan)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = mix(*losses)(labels, logits, tf.zeros(3), tf.constant([5, -1, 3]))
    assert float(objective) == 0.0
    assert not tf.convert_to_tensor(tape.gradient(objective, logits)).numpy().any()


@pytest.mark.parametrize("name", NAMES)
def test_displays_are_needed_by_losses_of_pairs_and_displays(name):
    module = mix({"name": "l2" if name != "l2" else "focal"}, {"name": name})
    assert module.needs_displays == (name in OF_LISTS)
    rows = tf.constant([1.0, 0.0])
    if module.needs_displays:
        with pytest.raises(ValueError, match=f"display must be given: {name} compare rows"):
            module(rows, rows, rows)
    else:
        assert math.isfinite(module(rows, rows, rows))


def test_under_a_strategy_in_a_graph():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        module = mix({"name": "jrc"}, {"name": "f1_reweighted"}, learned=True)
        optimizer = tf.keras.optimizers.SGD(0.5)
        optimizer.build(module.trainable_variables)

    def across(x):
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)

    def replica_step(*batch):
        with tf.GradientTape() as tape:
            objective = module(*batch, across=across, replicas=strategy.num_replicas_in_sync)
        variables = module.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(objective, variables), variables, strict=True))
        return objective

    step = tf.function(lambda *batch: strategy.run(replica_step, args=batch))
    first = float(step(*map(tf.constant, flat(CLICKED))))
    configs = [LossConfig(name="jrc"), LossConfig(name="f1_reweighted")]
    means = [np.divide(*brute_force.of_displays(config.name, CLICKED, **config.parameters)) for config in configs]
    assert first == pytest.approx(sum(means), rel=1e-5)
    assert [float(v.numpy()) for v in module.trainable_variables] == pytest.approx(
        [-0.5 * (0.5 - mean) for mean in means], rel=1e-5
    )
