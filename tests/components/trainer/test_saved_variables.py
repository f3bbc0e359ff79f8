import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from components.trainer.model import build_model
from components.trainer.saved_variables import Spec, read_variables
from schemas.config import ModelConfig
from schemas.errors import ConfigError, InputDataError
from tests.components.trainer.test_model import FEATURES

VARIABLES = {
    "clickrank/wide/bias": (),
    "clickrank/wide/ad": (5, 1),
    "clickrank/wide/topics": (4, 1),
    "clickrank/wide/hour": (3, 1),
    "clickrank/wide/numeric": (2,),
    "clickrank/deep/embeddings/ad": (5, 2),
    "clickrank/deep/embeddings/topics": (4, 3),
    "clickrank/deep/tower/hidden_0/kernel": (2 + 3 + 3 + 2, 4),
    "clickrank/deep/tower/hidden_0/bias": (4,),
    "clickrank/deep/tower/output/kernel": (4, 1),
    "clickrank/deep/tower/output/bias": (1,),
}
SPECS = {name: Spec(shape, "float32") for name, shape in VARIABLES.items()}


@pytest.fixture(scope="module")
def model():
    """Wide & deep; each value of it is there once."""
    model = build_model(FEATURES, ModelConfig(hidden_units=(4,)))
    start = 0
    for variable in model.variables:
        size = int(np.prod(variable.shape))
        variable.assign(np.arange(start, start + size, dtype=np.float32).reshape(variable.shape))
        start += size
    return model


def read_all(source):
    return {name: source.read(name) for name in source.variables}


def assert_holds(source, model):
    assert dict(source.variables) == SPECS
    for variable in model.variables:
        value = source.read(variable.name.removesuffix(":0"))
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, variable.numpy())


def save_module(variables, path):
    module = tf.Module(name="any")
    module.model_variables = variables
    module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [1]), 0)
    module.other = tf.Variable(3.0, name="not_the_models")
    serve = tf.function(lambda x: {"y": x + variables[0]}, input_signature=[tf.TensorSpec([], tf.float32)])
    tf.saved_model.save(module, str(path), signatures=serve)
    return str(path)


class State(tf.train.experimental.PythonState):
    def serialize(self):
        return "{}"

    def deserialize(self, value):
        pass


def stepped(optimizer, variables):
    """The optimizer after a step, of which the variables see nothing."""
    before = [v.numpy() for v in variables]
    optimizer.apply_gradients([(tf.ones(v.shape), v) for v in variables])
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return optimizer


OPTIMIZERS = {
    "adam": lambda: tf_keras.optimizers.Adam(),
    "ftrl": lambda: tf_keras.optimizers.Ftrl(),
    "averaging sgd": lambda: tf_keras.optimizers.SGD(use_ema=True, momentum=0.9),
    "old adam": lambda: tf_keras.optimizers.legacy.Adam(),
    "old sgd": lambda: tf_keras.optimizers.legacy.SGD(),
    "loss scale": lambda: tf_keras.mixed_precision.LossScaleOptimizer(tf_keras.optimizers.Adam()),
    "loss scale, old": lambda: tf_keras.mixed_precision.LossScaleOptimizer(tf_keras.optimizers.legacy.Adam()),
}


def test_a_saved_model_like_ours_has_the_models_variables_alone(model, tmp_path):
    source = read_variables(save_module(list(model.variables), tmp_path / "saved"))
    assert source.path == f"{tmp_path}/saved/variables/variables"
    assert_holds(source, model)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("part", ["model", "net"])
def test_a_checkpoint_without_its_optimizers_counters_and_python_state(model, kind, part, tmp_path):
    optimizer = stepped(OPTIMIZERS[kind](), list(model.variables))
    checkpoint = tf.train.Checkpoint(**{part: model, "optimizer": optimizer, "progress": State()})
    assert_holds(read_variables(checkpoint.save(f"{tmp_path}/ckpt")), model)


def test_a_checkpoint_of_the_model_itself(model, tmp_path):
    assert_holds(read_variables(tf.train.Checkpoint(model).write(f"{tmp_path}/step-7")), model)


def test_a_keras_model_saved_whole_with_optimizer_and_metrics(tmp_path):
    keras = tf_keras.Sequential([tf_keras.layers.Dense(2, name="first", input_shape=(3,))])
    keras.compile("adam", "mse", metrics=["mae"])
    keras.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    keras.save(f"{tmp_path}/saved", save_format="tf")
    values = read_all(read_variables(f"{tmp_path}/saved"))
    assert sorted(values) == ["first/bias", "first/kernel"]
    np.testing.assert_array_equal(values["first/kernel"], keras.layers[0].kernel.numpy())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["step-9", "step-10", "best-2", "best-8"], "best-8"),
        (["step-9", "step-100", "step-20", "ckpt-200"], "step-100"),
        (["ckpt-3", "ckpt-1", "other-9", "step-x"], "ckpt-3"),
    ],
)
def test_of_a_folder_the_newest_best_else_the_newest_step(written, read, tmp_path):
    for number, name in enumerate(written):
        tf.train.Checkpoint(v=tf.Variable(number, name="number")).write(f"{tmp_path}/{name}")
    source = read_variables(str(tmp_path))
    assert source.path == f"{tmp_path}/{read}"
    assert source.read("number") == written.index(read)


def test_what_a_save_cut_short_left_in_a_folder_is_no_checkpoint(tmp_path):
    for name in ("step-1", "step-2"):
        tf.train.Checkpoint(v=tf.Variable(0, name="v")).write(f"{tmp_path}/{name}")
    (tmp_path / "step-2.index").unlink()
    assert read_variables(str(tmp_path)).path == f"{tmp_path}/step-1"


def test_types_and_shapes_are_those_saved(tmp_path):
    saved = {"a": tf.Variable([[1, 2]], name="x", dtype=tf.int64), "b": tf.Variable(0.5, name="y", dtype=tf.bfloat16)}
    source = read_variables(tf.train.Checkpoint(**saved).write(f"{tmp_path}/step-1"))
    assert dict(source.variables) == {"x": Spec((1, 2), "int64"), "y": Spec((), "bfloat16")}


def test_a_path_with_nothing_to_read_is_a_wrong_configuration(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, message in [
        ("gone", "no such SavedModel, checkpoint or folder"),
        ("empty", "neither a SavedModel nor a folder with"),
    ]:
        with pytest.raises(ConfigError, match=f"{tmp_path}/{name}: {message}"):
            read_variables(f"{tmp_path}/{name}")


def test_a_checkpoint_of_tensorflow_1_is_refused(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("v", initializer=1.0)
        session.run(variable.initializer)
        tf.compat.v1.train.Saver([variable]).save(session, f"{tmp_path}/step", global_step=1)
    with pytest.raises(ConfigError, match=f"{tmp_path}/step-1: not a checkpoint of TensorFlow 2"):
        read_variables(f"{tmp_path}/step-1")


def test_a_checkpoint_without_variables_of_a_model_is_refused(tmp_path):
    prefix = tf.train.Checkpoint(progress=State()).save(f"{tmp_path}/ckpt")
    with pytest.raises(ConfigError, match=f"{prefix}: holds no variables of a model"):
        read_variables(prefix)


def test_two_variables_of_one_name_are_refused(tmp_path):
    prefix = tf.train.Checkpoint(a=tf.Variable(1, name="v"), b=tf.Variable(2, name="v")).write(f"{tmp_path}/step-1")
    with pytest.raises(ConfigError, match=f"{prefix}: several variables are called v"):
        read_variables(prefix)


def damaged(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "half":
        path.write_bytes(data[: len(data) // 2])
    elif how == "cut by a byte":
        path.write_bytes(data[:-1])
    elif how == "one bit each 16 bytes":
        path.write_bytes(bytes(b ^ (i % 16 == 0) for i, b in enumerate(data)))
    elif how == "zeros":
        path.write_bytes(bytes(len(data)))


@pytest.mark.parametrize("suffix", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("how", ["gone", "empty", "half", "cut by a byte", "one bit each 16 bytes", "zeros"])
@pytest.mark.parametrize("form", ["saved", "step-1"])
def test_a_damaged_file_is_named(model, form, suffix, how, tmp_path):
    save_module(list(model.variables), tmp_path / "saved")
    tf.train.Checkpoint(model=model).write(f"{tmp_path}/step-1")
    prefix = tmp_path / "saved" / "variables" / "variables" if form == "saved" else tmp_path / "step-1"
    damaged(Path(f"{prefix}.{suffix}"), how)
    with pytest.raises(InputDataError, match=f"^{tmp_path}/{form}") as caught:
        read_all(read_variables(f"{tmp_path}/{form}"))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_value_that_is_damaged_is_found_when_it_is_read(tmp_path):
    values = {f"v{i}": tf.Variable(np.full(1000, i, np.float32), name=f"v{i}") for i in range(3)}
    prefix = tf.train.Checkpoint(**values).write(f"{tmp_path}/step-1")
    file = tmp_path / "step-1.data-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[data.index(np.full(2, 1, np.float32).tobytes())] ^= 1
    file.write_bytes(data)
    source = read_variables(prefix)
    assert (source.read("v0") == 0).all()
    assert (source.read("v2") == 2).all()
    with pytest.raises(InputDataError, match=f"^{prefix}: damaged, it cannot be read: "):
        source.read("v1")


def test_a_model_is_read_after_a_move(model, tmp_path):
    save_module(list(model.variables), tmp_path / "saved")
    shutil.move(tmp_path / "saved", tmp_path / "moved")
    assert_holds(read_variables(f"{tmp_path}/moved"), model)
