import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from components.trainer.model import build_model
from components.trainer.optimizers import make_optimizer
from components.trainer.row_optimizers import Ftrl
from schemas.config import ModelConfig, OptimizerConfig
from schemas.features import Feature
from tests.components.trainer.graphs import whole_table_operations

# Each name with its defaults, and with all of its keys.
CONFIGS = [
    {"name": "ftrl"},
    {"name": "ftrl", "initial_accumulator": 0.5, "l1": 0.3, "l2": 0.2},
    {"name": "adagrad"},
    {"name": "adagrad", "initial_accumulator": 0.5, "epsilon": 0.01},
    {"name": "adam"},
    {"name": "adam", "beta_1": 0.5, "beta_2": 0.8, "epsilon": 0.1},
    {"name": "rmsprop"},
    {"name": "rmsprop", "rho": 0.5, "momentum": 0.7, "epsilon": 0.01},
    {"name": "sgd"},
    {"name": "momentum"},
    {"name": "momentum", "momentum": 0.5},
]
NAMES = ["ftrl", "adagrad", "adam", "rmsprop", "sgd", "momentum"]


def make(rate=0.5, **keys):
    return make_optimizer(OptimizerConfig(learning_rate=rate, **keys))


def first_update(config, gradient):
    optimizer = make(**config)
    variable = tf.Variable([1.0, 1.0])
    optimizer.apply_gradients([(tf.constant(gradient), variable)])
    return variable.numpy()


def test_sgd():
    np.testing.assert_allclose(first_update({"name": "sgd"}, [2.0, -1.0]), [0.0, 1.5])


def test_adagrad_starts_at_a_tenth():
    expected = 1.0 - 0.5 * 2.0 / np.sqrt(0.1 + 4.0)
    np.testing.assert_allclose(first_update({"name": "adagrad"}, [2.0, 2.0])[0], expected, rtol=1e-5)


def test_adam_first_goes_by_the_rate():
    np.testing.assert_allclose(first_update({"name": "adam"}, [2.0, -0.1]), [0.5, 1.5], rtol=1e-4)  # 1 - 0.999 in float32


def test_rmsprop_first_goes_by_the_rate_over_the_root_of_a_tenth():
    np.testing.assert_allclose(first_update({"name": "rmsprop"}, [2.0, -0.1]), 1 + np.array([-0.5, 0.5]) / np.sqrt(0.1), rtol=1e-4)


def test_momentum_repeats_its_last_step():
    optimizer, variable = make(name="momentum"), tf.Variable(1.0)
    for gradient in (2.0, 0.0, 0.0):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
    np.testing.assert_allclose(variable, 1.0 - 1.0 - 0.9 - 0.81, rtol=1e-6)


def test_ftrl_is_the_paper_with_power_one_half():
    # z = g - (sqrt(n + g^2) - sqrt(n)) / lr * w;  w = -z / (sqrt(n + g^2) / lr), n = 0.1
    g, lr = 2.0, 0.5
    z = g - (np.sqrt(0.1 + g * g) - np.sqrt(0.1)) / lr
    expected = -z / (np.sqrt(0.1 + g * g) / lr)
    np.testing.assert_allclose(first_update({"name": "ftrl"}, [g, g])[0], expected, rtol=1e-5)


def test_ftrl_l1_makes_zeros():
    assert first_update({"name": "ftrl", "l1": 100.0}, [2.0, 0.1]).tolist() == [0.0, 0.0]


def test_ftrl_l2_shrinks():
    plain = first_update({"name": "ftrl"}, [2.0, 2.0])
    shrunk = first_update({"name": "ftrl", "l2": 1.0}, [2.0, 2.0])
    assert (abs(shrunk) < abs(plain)).all()


def test_ftrl_at_a_rate_that_changes_is_adagrad():
    """From weights of 0 and without l1 and l2; the first step's rate is 0."""
    schedule = {"kind": "exponential", "warmup_steps": 3, "decay_steps": 2, "decay_rate": 0.5}
    ends = []
    for keys in ({"name": "ftrl"}, {"name": "adagrad", "epsilon": 1e-30}):
        optimizer, variable = make(schedule=schedule, **keys), tf.Variable([0.0, 0.0])
        for gradient in ([1.0, 2.0], [0.5, -1.0], [1.0, 0.0], [0.0, 0.0], [0.2, 0.1]):
            optimizer.apply_gradients([(tf.constant(gradient), variable)])
        ends.append(variable.numpy())
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5)
    assert abs(ends[0]).min() > 0.01


class Twin:
    """The rules in plain Python: one number at a time, slots of a row that was never seen do not exist."""

    def __init__(self, weights, lr=0.5, **config):
        self.weights, self.lr, self.slots, self.t = weights.astype("f8"), lr, {}, 0
        self.config = config

    def step(self, rows, values):
        self.t += 1
        sums = {}
        for row, value in zip(rows, values, strict=True):
            sums[int(row)] = sums.get(int(row), 0.0) + value.astype("f8")
        for row, gradient in sums.items():
            for column, g in enumerate(gradient):
                self.weights[row, column] = self.one(self.slots.setdefault((row, column), {}), self.weights[row, column], g)

    def one(self, slot, w, g):
        c, lr = self.config, self.lr
        match c["name"]:
            case "sgd":
                return w - lr * g
            case "momentum":
                slot["m"] = c.get("momentum", 0.9) * slot.get("m", 0) - lr * g
                return w + slot["m"]
            case "adagrad":
                slot["n"] = slot.get("n", c.get("initial_accumulator", 0.1)) + g * g
                return w - lr * g / (slot["n"] + c.get("epsilon", 1e-7)) ** 0.5
            case "adam":
                b1, b2 = c.get("beta_1", 0.9), c.get("beta_2", 0.999)
                slot["m"] = b1 * slot.get("m", 0) + (1 - b1) * g
                slot["v"] = b2 * slot.get("v", 0) + (1 - b2) * g * g
                rate = lr * (1 - b2**self.t) ** 0.5 / (1 - b1**self.t)
                return w - rate * slot["m"] / (slot["v"] ** 0.5 + c.get("epsilon", 1e-7))
            case "rmsprop":
                rho = c.get("rho", 0.9)
                slot["v"] = rho * slot.get("v", 0) + (1 - rho) * g * g
                slot["m"] = c.get("momentum", 0) * slot.get("m", 0) + lr * g / (slot["v"] + c.get("epsilon", 1e-7)) ** 0.5
                return w - slot["m"]
            case "ftrl":  # z as in the paper, not multiplied by the rate
                n = slot.get("n", c.get("initial_accumulator", 0.1))
                slot["n"] = n + g * g
                slot["z"] = slot.get("z", 0) + g - (slot["n"] ** 0.5 - n**0.5) / lr * w
                if abs(slot["z"]) <= c.get("l1", 0):
                    return 0.0
                return -(slot["z"] - np.sign(slot["z"]) * c.get("l1", 0)) / (slot["n"] ** 0.5 / lr + 2 * c.get("l2", 0))


def table(rows=7):
    return np.random.default_rng(0).normal(size=(rows, 3)).astype("f4")


def batches(rows, size, steps=4):
    """Row numbers (size,), some of them more than once, and gradients (size, 3), for each step; row 6 is in none."""
    random = np.random.default_rng(1)
    return [(random.integers(0, rows, size), random.normal(size=(size, 3)).astype("f4")) for _ in range(steps)]


def test_adams_l2_pulls_the_rows_of_the_batch_to_zero():
    """With a gradient of 0, row 1 of two sees l2 w alone: a first step of the learning rate, against its sign."""
    optimizer, table = make(0.1, name="adam", l2=0.5), tf.Variable([[3.0], [-2.0]])
    optimizer.build([table])
    optimizer.apply_gradients([(tf.IndexedSlices(tf.constant([[0.0]]), tf.constant([1]), tf.constant([2, 1])), table)])
    np.testing.assert_allclose(table.numpy(), [[3.0], [-1.9]], atol=1e-5)


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_sparse_steps_with_repeated_rows_are_the_rule(config, traced):
    optimizer, variable, twin = make(**config), tf.Variable(table()), Twin(table(), **config)
    optimizer.build([variable])

    def step(rows, values):
        optimizer.apply_gradients([(tf.IndexedSlices(values, rows, tf.constant([7, 3], tf.int64)), variable)])

    step = tf.function(step) if traced else step
    for rows, values in batches(6, 8):
        assert len(set(rows)) < len(rows)
        step(tf.constant(rows), tf.constant(values))
        twin.step(rows, values)
    np.testing.assert_allclose(variable.numpy(), twin.weights, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_dense_steps_and_sparse_steps_of_all_rows_are_tf_keras(config):
    renamed = {
        "initial_accumulator": "initial_accumulator_value",
        "l1": "l1_regularization_strength",
        "l2": "l2_regularization_strength",
    }
    defaults = {"adagrad": {"initial_accumulator_value": 0.1}, "momentum": {"momentum": 0.9}}  # those that tf_keras has not
    extra = defaults.get(config["name"], {}) | {renamed.get(k, k): v for k, v in config.items() if k != "name"}
    kinds = {"ftrl": "Ftrl", "adagrad": "Adagrad", "adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD", "momentum": "SGD"}
    optimizers = [getattr(tf_keras.optimizers, kinds[config["name"]])(0.5, **extra), make(**config), make(**config)]
    variables = [tf.Variable(table()) for _ in optimizers]
    for seed in range(4):
        gradient = np.random.default_rng(seed).normal(size=(7, 3)).astype("f4")
        order = np.random.default_rng(seed).permutation(7)
        slices = tf.IndexedSlices(gradient[order], order, tf.constant([7, 3], tf.int64))
        for optimizer, variable, given in zip(optimizers, variables, (gradient, gradient, slices), strict=True):
            optimizer.apply_gradients([(tf.convert_to_tensor(given) if given is gradient else given, variable)])
    np.testing.assert_allclose(variables[1], variables[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variables[2], variables[1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_not_in_the_batch_keep_every_bit(name):
    optimizer, variable = make(name=name), tf.Variable(table())
    optimizer.build([variable])
    for gradient in (np.ones((7, 3), "f4"), -2 * np.ones((7, 3), "f4")):  # slots of all rows are no longer as they began
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
    everything = [variable, *optimizer.slots_of(variable)]
    before = [x.numpy() for x in everything]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(variable, [1, 4, 1]) ** 2)
    optimizer.apply_gradients([(tape.gradient(loss, variable), variable)])
    for old, new in zip(before, everything, strict=True):
        np.testing.assert_array_equal(np.delete(new.numpy(), [1, 4], axis=0), np.delete(old, [1, 4], axis=0))
        assert (new.numpy()[[1, 4]] != old[[1, 4]]).all()


BUCKETS = 977
AD = Feature("ad", "item", "id", "int64", "", buckets=BUCKETS, embedding_dim=4)
AGE = Feature("age", "item", "numeric", "float32", "", missing="zero")


def traced_step(optimizer):
    """The whole step of a model whose every table has BUCKETS rows."""
    model = build_model((AD, AGE), ModelConfig(hidden_units=(8,)))
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(ad, age):
        with tf.GradientTape() as tape:
            tape.watch(model.trainable_variables)
            loss = tf.reduce_mean(model({"ad": ad, "age": age}, training=True) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True))

    return step.get_concrete_function(tf.TensorSpec([32], tf.int64), tf.TensorSpec([32], tf.float32))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_no_operation_of_a_step_is_as_long_as_a_table(config):
    assert whole_table_operations(traced_step(make(**config)), BUCKETS) == []


@pytest.mark.parametrize("name", ["Ftrl", "Adam", "RMSprop", "SGD"])
def test_that_would_be_seen_of_tf_keras(name):
    found = whole_table_operations(traced_step(getattr(tf_keras.optimizers, name)(0.1)), BUCKETS)
    assert any(line.startswith("ReadVariableOp") for line in found)
    assert any(line.split()[0] in ("Mul", "AddV2", "Sqrt", "Pow") for line in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_optimizer_goes_on_as_if_nothing_had_been(name, tmp_path):
    schedule = {"kind": "cosine", "warmup_steps": 1, "decay_steps": 5}

    def begin():
        optimizer, variable = make(name=name, schedule=schedule), tf.Variable(table())
        optimizer.build([variable])
        return optimizer, variable, tf.train.Checkpoint(optimizer=optimizer, variable=variable)

    def steps(optimizer, variable, which):
        for rows, values in batches(7, 5)[which]:
            optimizer.apply_gradients([(tf.IndexedSlices(values, rows, tf.constant([7, 3], tf.int64)), variable)])

    optimizer, variable, checkpoint = begin()
    steps(optimizer, variable, slice(0, 2))
    path = checkpoint.save(str(tmp_path / "ckpt"))
    steps(optimizer, variable, slice(2, 4))
    other, restored, checkpoint = begin()
    checkpoint.restore(path).assert_consumed()
    steps(other, restored, slice(2, 4))
    np.testing.assert_array_equal(restored.numpy(), variable.numpy())
    assert abs(restored.numpy() - table()).max() > 0.01


def test_a_key_that_is_not_given_takes_the_optimizers_default():
    optimizer, variable = make(name="ftrl", l1=0.5), tf.Variable([0.0])
    assert isinstance(optimizer, Ftrl)
    optimizer.build([variable])
    assert [slot.numpy().tolist() for slot in optimizer.slots_of(variable)] == [[pytest.approx(0.1)], [0.0]]


def test_sgd_keeps_nothing_beside_the_weights():
    optimizer, variable = make(name="sgd"), tf.Variable([0.0])
    optimizer.build([variable])
    assert optimizer.slots_of(variable) == []


def test_the_schedule_moves_with_the_steps():
    optimizer, variable = make(1.0, name="sgd", schedule={"warmup_epochs": 1}), tf.Variable(0.0)
    assert float(optimizer.learning_rate) == 0.0  # an epoch is one step here
    optimizer = make_optimizer(OptimizerConfig(name="sgd", learning_rate=1.0, schedule={"warmup_epochs": 1}), steps_per_epoch=4)
    values = []
    for _ in range(6):
        optimizer.apply_gradients([(tf.constant(-1.0), variable)])
        values.append(float(variable))
    assert values == [0.0, 0.25, 0.75, 1.5, 2.5, 3.5]
