import numpy as np
import pytest
import tensorflow as tf

from components.trainer.model import build_model
from schemas.config import ModelConfig
from schemas.errors import ConfigError
from tests.components.trainer.scorers_by_hand import FEATURES, SEED, THREE_ROWS, batch

MODULE = "tests.components.trainer.custom_models"


def config(function, packages=("tests.components",), module=MODULE, **more):
    return ModelConfig(kind="custom", custom=f"{module}:{function}", allowed_packages=packages, **{"hidden_units": (4,), **more})


@pytest.mark.parametrize("function", ["functional", "some_inputs", "subclassed"])
def test_a_model_of_ones_own(function, recwarn):
    model = build_model(FEATURES, config(function), seed=3)
    logit = model(THREE_ROWS)
    assert (logit.shape, logit.dtype) == ((3,), tf.float32)
    assert model.wide_variables == []
    assert len(model.deep_variables) == len(model.trainable_variables) > 0
    assert model(batch()).shape == (1,)
    np.testing.assert_array_equal(build_model(FEATURES, config(function), seed=3)(THREE_ROWS), logit)
    assert [str(w.message) for w in recwarn if "did not match any model input" in str(w.message)] == []


def test_the_seed_reaches_a_model_that_takes_it():
    model = build_model(FEATURES, config("subclassed"))
    np.testing.assert_allclose(model(THREE_ROWS, training=True), THREE_ROWS["age"])
    first, again = (model(THREE_ROWS, training=True, seed=SEED).numpy() for _ in range(2))
    assert (first != THREE_ROWS["age"].numpy()).all()
    np.testing.assert_array_equal(first, again)


def test_precision_is_keras_policy_and_the_logit_stays_float32():
    model = build_model(FEATURES, config("functional"), compute_dtype="bfloat16")
    assert model.model.output.dtype == "bfloat16"
    assert {v.dtype for v in model.weights} == {tf.float32}
    assert model(THREE_ROWS).dtype == tf.float32
    assert build_model(FEATURES, config("functional")).model.output.dtype == "float32"


def test_a_saved_model_scores_the_same(tmp_path):
    model = build_model(FEATURES, config("functional"))
    module = tf.Module()
    module.model_variables = model.variables
    signature = [{n: tf.TensorSpec([None, *v.shape[1:]], v.dtype) for n, v in THREE_ROWS.items()}]
    module.score = tf.function(lambda inputs: model(inputs), input_signature=signature)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.score(THREE_ROWS), model(THREE_ROWS), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("gone", "has no function 'gone'"),
        ("NOT_A_FUNCTION", "has no function 'NOT_A_FUNCTION'"),
        ("system", "'system' is of 'posix', which is in none of model.allowed_packages"),
        ("nothing", "must return a tf_keras.Model. Received: builtins.NoneType"),
        ("keras_3", "must return a tf_keras.Model; Keras 3 models do not work here, import tf_keras. Received: keras."),
        ("lambdas", "a Lambda layer; write a class of layers instead. Received: 'twice'"),
        ("too_wide", r"(n,) or (n, 1). Received: float32 (3, 2) for 3 rows"),
        ("one_for_all", r"(n,) or (n, 1). Received: float32 (1,) for 3 rows"),
        ("integers", r"(n,) or (n, 1). Received: int64 (3,) for 3 rows"),
        ("untrainable", "without trainable variables"),
        ("broken", "custom_models:broken failed: KeyError: 'no_such_feature'"),
    ],
)
def test_what_is_wrong_with_it_is_named(function, message):
    with pytest.raises(ConfigError) as error:
        build_model(FEATURES, config(function))
    assert str(error.value).startswith("model.custom: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_module_that_cannot_be_imported():
    with pytest.raises(ConfigError, match=r"no_such_package\.models cannot be imported: ModuleNotFoundError"):
        build_model(FEATURES, config("f", ("no_such_package",), "no_such_package.models"))


@pytest.mark.parametrize(
    ("path", "packages"),
    [
        ("os:system", ()),
        ("os:system", ("tests",)),
        ("osx.models:f", ("os",)),
        ("tests.components.trainer.custom_models:functional", ("tests.components.trainer.custom",)),
        ("tests:f", ("tests.components",)),
    ],
)
def test_a_package_that_is_not_allowed_is_not_even_imported(path, packages):
    with pytest.raises(ValueError, match="is in none of allowed_packages"):
        ModelConfig(kind="custom", custom=path, allowed_packages=packages)


@pytest.mark.parametrize("path", ["os.system", "os:path.join", ":f", "m:", "m:f()", "../m:f", "m:f\n", "a..b:c", "m:f:g"])
def test_a_path_is_a_module_and_a_name(path):
    with pytest.raises(ValueError, match="custom"):
        ModelConfig(kind="custom", custom=path, allowed_packages=("os", "m", "a"))


def test_it_is_not_compiled():
    with pytest.raises(ConfigError, match="switch it off"):
        build_model(FEATURES, config("functional"), jit_compile=True)
