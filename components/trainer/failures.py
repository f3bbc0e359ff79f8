"""What to tell of an error of TensorFlow."""

import tensorflow as tf

from schemas.errors import ClickrankError, TransientError

_PEER_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


def explain(error: tf.errors.OpError) -> ClickrankError:
    """Returns what to tell of an error that training came to: its one telling line."""
    if isinstance(error, _PEER_LOST):
        return TransientError(f"another worker was lost: {cause(error)}")
    return ClickrankError(f"training failed: {cause(error)}")


def cause(error: Exception) -> str:
    """The one line of a TensorFlow error that says what went wrong: the last that does not say where."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line and not line.startswith("[[")), type(error).__name__)
