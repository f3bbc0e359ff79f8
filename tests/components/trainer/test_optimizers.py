import numpy as np
import pytest
import tensorflow as tf

from components.trainer.optimizers import make_optimizer
from schemas.config import OptimizerConfig


def first_update(config, gradient):
    optimizer = make_optimizer(OptimizerConfig(**config))
    variable = tf.Variable([1.0, 1.0])
    optimizer.build([variable])
    optimizer.apply_gradients([(tf.constant(gradient), variable)])
    return variable.numpy()


def test_sgd():
    np.testing.assert_allclose(first_update({"name": "sgd", "learning_rate": 0.5}, [2.0, -1.0]), [0.0, 1.5])


def test_adagrad_starts_at_a_tenth():
    expected = 1.0 - 0.5 * 2.0 / np.sqrt(0.1 + 4.0)
    np.testing.assert_allclose(first_update({"name": "adagrad", "learning_rate": 0.5}, [2.0, 2.0])[0], expected, rtol=1e-5)


def test_ftrl_is_the_paper_with_power_one_half():
    # z = g - (sqrt(n + g^2) - sqrt(n)) / lr * w;  w = -z / (sqrt(n + g^2) / lr), n = 0.1
    g, lr = 2.0, 0.5
    z = g - (np.sqrt(0.1 + g * g) - np.sqrt(0.1)) / lr
    expected = -z / (np.sqrt(0.1 + g * g) / lr)
    np.testing.assert_allclose(first_update({"name": "ftrl", "learning_rate": lr}, [g, g])[0], expected, rtol=1e-5)


def test_ftrl_l1_makes_zeros():
    assert first_update({"name": "ftrl", "learning_rate": 0.5, "l1": 100.0}, [2.0, 0.1]).tolist() == [0.0, 0.0]


def test_ftrl_l2_shrinks():
    plain = first_update({"name": "ftrl", "learning_rate": 0.5}, [2.0, 2.0])
    shrunk = first_update({"name": "ftrl", "learning_rate": 0.5, "l2": 1.0}, [2.0, 2.0])
    assert (abs(shrunk) < abs(plain)).all()


@pytest.mark.parametrize("name", ["ftrl", "adagrad", "adam", "rmsprop", "sgd"])
def test_sparse_gradients_of_rows_that_were_not_looked_up_change_nothing(name):
    optimizer = make_optimizer(OptimizerConfig(name=name, learning_rate=0.1))
    table = tf.Variable([[0.0], [0.0], [0.0]])
    optimizer.build([table])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.gather(table, [1, 1]))
    optimizer.apply_gradients([(tape.gradient(loss, table), table)])
    assert table.numpy()[[0, 2]].tolist() == [[0.0], [0.0]]
    assert table.numpy()[1, 0] < 0
