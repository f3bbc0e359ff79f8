"""A user's own Keras model, by the dotted path of the function that makes it."""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tf_keras

from components.trainer.scorers.contract import Scorer, zero_inputs
from schemas.config import ModelConfig
from schemas.errors import ConfigError
from schemas.features import Feature

_TRIAL_ROWS = 3
"""More than one: of one row, a sum over the batch would have the right shape."""


class Custom(Scorer):
    """The model of `model.custom` (`custom`): `function(features, config)` returns a tf_keras.Model.

    The model takes the dict of inputs and returns logits (n,) or (n, 1). It is called with `training` and `seed` if its `call`
    has arguments of these names; see `Scorer.call`. The deep optimizer updates all of its variables.

    Attributes:
        model: What the function returned.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        config: ModelConfig,
        seed: int,
        compute_dtype: str = "float32",
        jit_compile: bool = False,
    ):
        """Seeds the random generators of Python, NumPy and TensorFlow, so that `seed` determines the initial weights.

        Args:
            features: The inputs.
            config: The `model` sub-tree; `custom` names the function.
            seed: Of the initial weights.
            compute_dtype: Keras' mixed-precision policy while the function runs; what it does about it is its own affair.
            jit_compile: Must be False.

        Raises:
            ConfigError: There is no such function, or what it returns is no such model.
        """
        super().__init__(features)
        path = config.custom or ""
        if jit_compile:
            raise ConfigError("XLA compiles the hidden layers of our own models; with model.kind=custom, switch it off")
        function = load_function(path, config)
        tf_keras.utils.set_random_seed(seed)
        with _blame(path), _policy(compute_dtype):
            model = function(self.features, config)
        _check_is_model(model, path)
        self.model = model
        self._names = getattr(model, "input_names", None) or [f.name for f in features]
        self._arguments = {"training", "seed"} & set(inspect.signature(model.call).parameters)
        with _blame(path):
            logits = self._logits(zero_inputs(features, _TRIAL_ROWS), {})
        _check_is_logits(logits, path)
        if not model.trainable_variables:
            raise ConfigError(f"model.custom: {path} returned a model without trainable variables")

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the logit, float32 (n,). See `Scorer.call`."""
        logits = self._logits(inputs, {"training": training, "seed": seed})  # (n,) or (n, 1)
        return tf.cast(tf.reshape(logits, [-1]), tf.float32)

    def _logits(self, inputs: Mapping[str, tf.Tensor], options: Mapping[str, object]) -> tf.Tensor:
        known = {name: value for name, value in options.items() if name in self._arguments}
        return self.model({name: inputs[name] for name in self._names}, **known)


def load_function(path: str, config: ModelConfig) -> Callable[..., Any]:
    """Imports what `path`, `package.module:function`, names.

    Raises:
        ConfigError: It cannot be imported, is not callable, or was defined outside of `config.allowed_packages`.
    """
    module_name, _, name = path.partition(":")
    if not config.allows(module_name):  # before the import, which runs code
        raise ConfigError(f"model.custom: {module_name!r} is in none of model.allowed_packages. Received: {path!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(f"model.custom: {module_name} cannot be imported: {_one_line(error)}. Received: {path!r}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"model.custom: {module_name} has no function {name!r}. Received: {path!r}")
    owner = str(getattr(function, "__module__", None))
    if not config.allows(owner):  # a name that the module imported
        raise ConfigError(f"model.custom: {name!r} is of {owner!r}, which is in none of model.allowed_packages. Received: {path!r}")
    return function


def _check_is_model(model: object, path: str) -> None:
    if not isinstance(model, tf_keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        hint = "; Keras 3 models do not work here, import tf_keras" if kind.startswith("keras.") else ""
        raise ConfigError(f"model.custom: {path} must return a tf_keras.Model{hint}. Received: {kind}")
    for layer in model.submodules:
        if isinstance(layer, tf_keras.layers.Lambda):
            raise ConfigError(
                f"model.custom: {path} returned a model with a Lambda layer; write a class of layers instead."
                f" Received: {layer.name!r}"
            )


def _check_is_logits(logits: object, path: str) -> None:
    received = f"{logits.dtype.name} {tuple(logits.shape)}" if isinstance(logits, tf.Tensor) else type(logits).__name__
    if not isinstance(logits, tf.Tensor) or not logits.dtype.is_floating or logits.shape not in ((_TRIAL_ROWS,), (_TRIAL_ROWS, 1)):
        raise ConfigError(
            f"model.custom: the model of {path} must return a floating-point logit for each row, (n,) or (n, 1)."
            f" Received: {received} for {_TRIAL_ROWS} rows"
        )


@contextmanager
def _blame(path: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ConfigError(f"model.custom: {path} failed: {_one_line(error)}") from error


@contextmanager
def _policy(compute_dtype: str) -> Iterator[None]:
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}")
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
