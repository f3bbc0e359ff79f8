import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from components.trainer.model import build_model
from components.trainer.scorers.tower import BatchNorm, Group, Tower
from schemas.config import ModelConfig
from schemas.errors import ConfigError
from tests.components.trainer.scorers_by_hand import FEATURES, SEED, THREE_ROWS, randomize, randomized

NETWORKS = ("wide_deep", "deep", "dnn", "gam")


PAIR = Group(2, None)


def tower(units=(3,), outputs=1, groups=(PAIR,), **config):
    built = Tower(groups, units, outputs, ModelConfig(**config), seed=0)
    built([tf.zeros((1, g.width) if g.members is None else (len(g.members), 1, g.width)) for g in groups])
    return built


@pytest.mark.parametrize(
    ("activation", "of_minus_one"),
    [
        ("relu", 0.0),
        ("elu", -0.632121),
        ("gelu", -0.158655),
        ("selu", -1.111331),
        ("sigmoid", 0.268941),
        ("swish", -0.268941),
        ("tanh", -0.761594),
    ],
)
def test_activations_by_hand(activation, of_minus_one):
    one = tower(units=(1,), activation=activation)
    one.set_weights([np.array([[1.0], [2.0]]), np.array([-4.0]), np.array([[10.0]]), np.array([0.5])])
    # -1 = 1 * 1 + 2 * 1 - 4
    np.testing.assert_allclose(one([tf.ones((1, 2))]), [[10 * of_minus_one + 0.5]], rtol=1e-5)


def test_without_hidden_layers_it_is_linear():
    line = tower(units=())
    line.set_weights([np.array([[2.0], [3.0]]), np.array([0.5])])
    np.testing.assert_allclose(line([tf.constant([[1.0, 10.0]])]), [[32.5]])


def test_a_stack_is_its_members_one_by_one():
    groups = (Group(1, ("a", "b")), Group(3, ("c",)))
    stack = randomize(tower(units=(4, 2), outputs=2, groups=groups))
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(2, 5, 1)).astype(np.float32), rng.normal(size=(1, 5, 3)).astype(np.float32)]
    got = stack(inputs).numpy()
    assert got.shape == (3, 5, 2)
    for member, (group, i) in enumerate([(0, 0), (0, 1), (1, 0)]):
        x = np.maximum(inputs[group][i] @ stack._first[group].kernel[i].numpy() + stack._first[group].bias[i].numpy(), 0)
        second, output = stack._rest
        x = np.maximum(x @ second.kernel[member].numpy() + second.bias[member].numpy(), 0)
        np.testing.assert_allclose(
            got[member], x @ output.kernel[member].numpy() + output.bias[member].numpy(), rtol=1e-4, atol=1e-5
        )


def test_members_start_apart_each_in_its_own_glorot_bounds():
    stack = tower(units=(4,), groups=(Group(2, ("a", "b")),))
    kernels = stack._first[0].kernel.numpy()
    assert (kernels[0] != kernels[1]).all()
    assert abs(kernels).max() <= (6 / (2 + 4)) ** 0.5


@pytest.mark.parametrize("kind", NETWORKS)
def test_dropout_masks_are_those_of_the_seed(kind):
    model = randomized(kind, hidden=(64, 32), dropout=0.5)
    run = tf.function(lambda seed: model(THREE_ROWS, training=True, seed=seed))
    again, other_step, other_replica = tf.constant([3, 5]), tf.constant([3, 6]), tf.constant([4, 5])
    first = run(SEED).numpy()
    np.testing.assert_array_equal(run(again), first)
    assert (run(other_step).numpy() != first).all()
    assert (run(other_replica).numpy() != first).all()
    model(THREE_ROWS, training=True, seed=other_step)  # a step in between changes nothing: there is no state
    np.testing.assert_allclose(model(THREE_ROWS, training=True, seed=again), first, rtol=1e-5)


def test_dropout_keeps_the_mean_and_each_layer_has_its_mask():
    """Ones through two layers that add nothing: kept units are scaled by 1 / (1 - 0.25)."""
    wide = 4000
    model = tower(units=(wide, wide), outputs=wide, groups=(Group(wide, None),), dropout=0.25)
    eye, none = np.eye(wide, dtype=np.float32), np.zeros(wide, np.float32)
    model.set_weights([eye, none, eye, none, eye, none])
    out = model([tf.ones((1, wide))], training=True, seed=SEED).numpy()[0]
    counts = {value: (abs(out - value) < 1e-5).mean() for value in (0.0, 16 / 9)}
    assert sum(counts.values()) == 1.0
    assert counts[16 / 9] == pytest.approx(0.75**2, abs=0.04)  # 0.75 if the masks were the same


@pytest.mark.parametrize("kind", NETWORKS)
def test_dropout_in_training_needs_a_seed(kind):
    model = randomized(kind, dropout=0.5)
    with pytest.raises(ValueError, match=r"dropout 0.5 needs a seed"):
        model(THREE_ROWS, training=True)
    np.testing.assert_array_equal(model(THREE_ROWS), model(THREE_ROWS, training=False, seed=SEED))


def test_batch_norm_by_hand():
    norm = BatchNorm(Group(0, None), 1, 0.9, "norm")
    x = tf.constant([[1.0], [3.0]])
    np.testing.assert_allclose(norm(x, training=True), [[-1 / 1.001**0.5], [1 / 1.001**0.5]], rtol=1e-5)  # mean 2, variance 1
    np.testing.assert_allclose(norm.moving_mean, [0.2], rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, [0.9 * 1 + 0.1 * 1], rtol=1e-6)
    np.testing.assert_allclose(norm(x), (x - 0.2) / 1.001**0.5, rtol=1e-5)


def test_batch_norm_of_a_stack_is_by_member():
    x = tf.constant([[[1.0], [3.0]], [[10.0], [50.0]]])  # (members, n, 1)
    norm = BatchNorm(Group(0, ("a", "b")), 1, 0.0, "norm")
    norm(x, training=True)
    np.testing.assert_allclose(tf.reshape(norm.moving_mean, [-1]), [2.0, 30.0])
    np.testing.assert_allclose(tf.reshape(norm.moving_variance, [-1]), [1.0, 400.0])


TWO_REPLICAS = """
import components.trainer
import tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from components.trainer.scorers.tower import BatchNorm, Group
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    norm = BatchNorm(Group(0, None), 1, 0.0, "norm")
    norm.build(None)

@tf.function
def step(x):
    return strategy.run(lambda x: norm(x, training=True), args=(x,))

for last in ([[8.0]], tf.zeros((0, 1))):
    rows = [tf.constant([[1.0], [3.0]]), tf.constant(last)]
    step(strategy.experimental_distribute_values_from_function(lambda c: rows[c.replica_id_in_sync_group]))
    for state in (norm.moving_mean, norm.moving_variance):
        print(*(float(v.numpy()[0]) for v in state.values))
"""


def test_batch_norm_takes_the_moments_of_all_replicas():
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    means, variances, means_without, variances_without = ([float(v) for v in line.split()] for line in done.stdout.splitlines())
    assert (means, variances) == ([pytest.approx(4.0)] * 2, [pytest.approx((9 + 1 + 16) / 3)] * 2)
    assert (means_without, variances_without) == ([2.0, 2.0], [1.0, 1.0])  # one replica has no rows: the end of an epoch


def test_batch_norm_over_replicas_is_not_compiled(monkeypatch):
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: SimpleNamespace(num_replicas_in_sync=2))
    with pytest.raises(ConfigError, match="cannot be compiled by XLA"):
        build_model(FEATURES, ModelConfig(batch_norm=True), jit_compile=True)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_single(kind, dtype):
    config = ModelConfig(kind=kind, hidden_units=(32, 16), batch_norm=True)
    single, half = build_model(FEATURES, config, 1), build_model(FEATURES, config, 1, compute_dtype=dtype)
    assert {v.dtype for v in half.weights} == {tf.float32}
    np.testing.assert_allclose(half(THREE_ROWS), single(THREE_ROWS), atol=0.02)
    assert (half(THREE_ROWS).numpy() != single(THREE_ROWS).numpy()).any()
    with tf.GradientTape() as tape:
        tape.watch(half.trainable_variables)
        logit = half(THREE_ROWS, training=True)
    assert logit.dtype == tf.float32
    for gradient in tape.gradient(logit, half.trainable_variables):
        assert gradient.dtype == tf.float32
        assert np.isfinite(tf.convert_to_tensor(gradient).numpy()).all()


def trained_logits_and_gradients(model):
    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(model.trainable_variables)
            logit = model(THREE_ROWS, training=True, seed=SEED)
            loss = tf.reduce_sum(logit**2)
        return logit, [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_variables)]

    return step()


@pytest.mark.parametrize("kind", ["wide_deep", "gam"])
def test_xla_computes_the_same(kind):
    config = ModelConfig(kind=kind, hidden_units=(16, 8), batch_norm=True)
    plain, compiled = (randomize(build_model(FEATURES, config, jit_compile=jit)) for jit in (False, True))
    (logit, gradients), (other, others) = trained_logits_and_gradients(plain), trained_logits_and_gradients(compiled)
    np.testing.assert_allclose(other, logit, rtol=1e-5, atol=1e-5)
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3)
    for a, b in zip(plain.get_weights(), compiled.get_weights(), strict=True):  # batch norm's moments
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_xla_drops_by_the_seed_too():
    """By masks of its own: it draws other numbers than TensorFlow's kernels from the same seed."""
    model = build_model(FEATURES, ModelConfig(hidden_units=(64,), dropout=0.5), jit_compile=True)
    run = tf.function(lambda seed: model(THREE_ROWS, training=True, seed=seed))
    first, other, again = (run(tf.constant(seed)).numpy() for seed in ([3, 5], [3, 6], [3, 5]))
    np.testing.assert_array_equal(again, first)
    assert (other != first).all()


def test_only_the_tower_is_compiled_and_only_if_asked():
    def compiled_functions(model):
        graph = tf.function(lambda: model(THREE_ROWS)).get_concrete_function().graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return [n for n in nodes if "_XlaMustCompile" in n.attr and n.attr["_XlaMustCompile"].b]

    plain, compiled = (build_model(FEATURES, ModelConfig(hidden_units=(4,)), jit_compile=jit) for jit in (False, True))
    assert compiled_functions(plain) == []
    assert len(compiled_functions(compiled)) == 1


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_saved_model_scores_the_same(kind, tmp_path):
    model = randomized(kind, hidden=(8, 4), batch_norm=True, activation="gelu")
    module = tf.Module()
    module.model_variables = model.variables
    signature = [{n: tf.TensorSpec([None, *v.shape[1:]], v.dtype) for n, v in THREE_ROWS.items()}]
    module.score = tf.function(lambda inputs: model(inputs), input_signature=signature)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.score(THREE_ROWS), model(THREE_ROWS), rtol=1e-5)
