import tensorflow as tf

from components.trainer.failures import explain
from schemas.errors import ClickrankError, TransientError


def test_a_lost_worker_is_transient():
    error = explain(tf.errors.UnavailableError(None, None, "Connection reset by peer"))
    assert isinstance(error, TransientError)
    assert str(error) == "another worker was lost: Connection reset by peer"


def test_of_anything_else_the_telling_line_is_kept():
    error = explain(
        tf.errors.InvalidArgumentError(None, None, "Graph execution error:\n\nindices[3] = 9 is not in [0, 5)\n\t [[{{node g}}]]")
    )
    assert type(error) is ClickrankError
    assert str(error) == "training failed: indices[3] = 9 is not in [0, 5)"
