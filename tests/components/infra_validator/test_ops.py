"""Which operations a served model may have."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.infra_validator.ops import ALLOWED, SAVER, read_saved_model, refused_operations
from components.trainer.export import export
from components.trainer.model import build_model
from schemas.config import EncodingConfig, FeaturesConfig, ModelConfig
from schemas.errors import InputDataError
from tests.components.saved_models import pop_ad_id, save_contract
from tests.rows import random_rows
from tests.transformed import run_transform

ENCODING = {"max_buckets": 50, "add": ["user_doc_ad_sim_latent", "doc_event_doc_ad_sim_latent"]}
OURS = "tests.components.infra_validator.own_models"


def refused(folder, more=()):
    return refused_operations(read_saved_model(folder), more)


@pytest.fixture(scope="module")
def tft(tmp_path_factory):
    """TFT's output for every feature there is."""
    out = tmp_path_factory.mktemp("every feature")
    run_transform({"train": random_rows(60), "eval": random_rows(20, seed=1)}, out, ENCODING)
    return str(out / "tft")


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "wide_deep", "crosses": [["ad_id", "event_country"], ["event_platform", "event_country"]], "cross_buckets": 30},
        {"kind": "wide_deep", "activation": "gelu", "batch_norm": True, "dropout": 0.1},
        {"kind": "wide"},
        {"kind": "deep", "activation": "selu"},
        {"kind": "dnn", "batch_norm": True},
        {"kind": "gam"},
        {"kind": "custom", "custom": f"{OURS}:attention", "allowed_packages": ["tests.components"]},
    ],
    ids=lambda model: "-".join(map(str, model.values()))[:40],
)
def test_every_kind_of_model_passes(model, tft, tmp_path):
    config = ModelConfig(**{"hidden_units": (4, 2), "max_embedding_dim": 2, **model})
    scorer = build_model(EncodingConfig(**ENCODING).inputs(2), config)
    export(scorer, tft, str(tmp_path), FeaturesConfig())
    assert refused(tmp_path) == {}


def test_every_allowed_operation_is_one_of_tensorflows():
    assert sorted(op for op in ALLOWED | SAVER if not hasattr(tf.raw_ops, op)) == []
    assert not ALLOWED & SAVER


def doubled(scores):
    return scores * 2


def in_a_branch(examples):
    scores = pop_ad_id(examples)
    return tf.cond(
        tf.size(scores) > 3,
        lambda: scores,
        lambda: tf.map_fn(lambda s: tf.ensure_shape(tf.numpy_function(doubled, [s], s.dtype), []), scores),
    )


def written(examples):
    with tf.control_dependencies([tf.io.write_file("/tmp/never", "x")]):
        return tf.identity(pop_ad_id(examples))


def saved(examples):
    with tf.control_dependencies([tf.raw_ops.SaveV2(prefix="x", tensor_names=["a"], shape_and_slices=[""], tensors=[1.0])]):
        return tf.identity(pop_ad_id(examples))


def counted(examples):
    with tf.init_scope():
        count = tf.Variable(0.0, name="count")
    with tf.control_dependencies([count.assign_add(1.0)]):
        return pop_ad_id(examples) / 2


@pytest.mark.parametrize(
    ("score", "operation"),
    [
        (lambda e: tf.ensure_shape(tf.numpy_function(doubled, [pop_ad_id(e)], tf.float32), [None]), "PyFunc"),
        (lambda e: tf.ensure_shape(tf.py_function(doubled, [pop_ad_id(e)], tf.float32), [None]), "EagerPyFunc"),
        (in_a_branch, "PyFunc"),
        (lambda e: pop_ad_id(e) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32), "ReadFile"),
        (written, "WriteFile"),
        (saved, "SaveV2"),
        (lambda e: pop_ad_id(e) * tf.random.uniform([]), "RandomUniform"),
    ],
    ids=["numpy_function", "py_function", "branch of a branch", "read", "write", "save", "chance"],
)
def test_what_a_server_must_not_do_is_refused_by_name(score, operation, tmp_path):
    found = refused(save_contract(tmp_path, score))
    assert set(found) == {operation}
    assert found[operation].startswith("function ")
    assert refused(tmp_path, more=[operation]) == {}


def test_a_custom_operation_is_refused(tmp_path):
    """Its library is not here, so TensorFlow could not even load it."""
    save_contract(tmp_path)
    file = tmp_path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    function = next(f for f in saved.meta_graphs[0].graph_def.library.function if f.node_def)
    function.node_def[0].op = "ServeSecrets"
    file.write_bytes(saved.SerializeToString())
    assert refused(tmp_path)["ServeSecrets"] == f"function {function.signature.name}"


def test_the_saver_is_no_way_around(tmp_path):
    """A signature that fetches what the saver's own node puts out."""
    save_contract(tmp_path)
    file = tmp_path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graph = saved.meta_graphs[0]
    assert refused(tmp_path) == {}
    graph.signature_def["serving_default"].outputs["score"].name = graph.saver_def.save_tensor_name
    file.write_bytes(saved.SerializeToString())
    assert {"SaveV2", "MergeV2Checkpoints", "ShardedFilename"} <= set(refused(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file"), (b"\xff" * 99, "damaged, is no SavedModel"), (b"", "has no graph")]
)
def test_a_damaged_file_is_named(content, message, tmp_path):
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(InputDataError, match=rf"{tmp_path}/saved_model\.pb: .*{message}"):
        read_saved_model(tmp_path)


def test_a_table_is_read_from_the_graph_but_not_from_a_file(tmp_path):
    (tmp_path / "words").write_text("US\nGB\n")
    layers = tf.lookup
    tables = {
        "graph": layers.StaticHashTable(layers.KeyValueTensorInitializer(["US"], np.array([1.0], np.float32)), 0.0),
        "file": layers.StaticHashTable(
            layers.TextFileInitializer(
                str(tmp_path / "words"),
                *(tf.string, layers.TextFileIndex.WHOLE_LINE, tf.int64, layers.TextFileIndex.LINE_NUMBER),
            ),
            -1,
        ),
    }
    found = {}
    for name, table in tables.items():

        class Looking(tf.Module):
            def __init__(self, table):
                super().__init__()
                self.table = table

            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
            def serve(self, examples):
                return {"score": tf.cast(self.table.lookup(examples), tf.float32)}

        module = Looking(table)
        tf.saved_model.save(module, str(tmp_path / name), signatures={"serving_default": module.serve})
        found[name] = set(refused(tmp_path / name))
    assert found["graph"] == set()
    assert "InitializeTableFromTextFileV2" in found["file"]
