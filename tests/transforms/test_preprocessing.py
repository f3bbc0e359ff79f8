import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from schemas import features, serving
from schemas.errors import ConfigError
from schemas.features import Feature
from tests.transformed import run_transform
from transforms.examples import arrow_schema, encode
from transforms.preprocessing import _encode_category, preprocessing_fn

WORD = Feature("word", "request", "id", "string", "", buckets=3, embedding_dim=2)
TOPICS = Feature("topics", "item", "ids", "int64", "", buckets=300_000, embedding_dim=2, hotness=3)
RAW = Feature("raw_number", "item", "numeric", "float32", "", missing="mean")

KEYS = {"display_id": 7, "uuid": "u", "timestamp": 1, "ads_per_display": 2, "popularity": 0.5, "label": 1}
NAN = float("nan")


def table(rows):
    return pa.Table.from_pylist([{**KEYS, **row} for row in rows], schema=arrow_schema())


@pytest.fixture(scope="module")
def transform(tmp_path_factory):
    """A function: raw rows as dicts -> model inputs, by the graph that was fitted to the train rows below."""
    out = tmp_path_factory.mktemp("tft")
    train = [
        # doc_views: L = 0, 1, 2. pop_ad_id: L = 0, 2, 2. ad_views: L = 1, 2. pop_source_id is never there.
        {"doc_views": 0, "pop_ad_id": 0.0, "ad_views": 1, "pop_document_id": 0.25, "raw_number": -1.0},
        {"doc_views": 1, "pop_ad_id": 0.003, "ad_views": 3, "pop_document_id": 0.25, "raw_number": 3.0},
        {"doc_views": 3, "pop_ad_id": 0.003, "raw_number": 4.0},
        {},
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "FEATURES", (*features.FEATURES, WORD, TOPICS, RAW))
        run_transform({"train": table(train)}, out, {"add": ["ad_campaign"], "drop": ["doc_id"]})
        output = tft.TFTransformOutput(str(out / "tft"))
        layer = output.transform_features_layer()

        def apply(*rows, label=True):
            raw = tf.io.parse_example(encode(table(rows)), serving.raw_feature_spec(label=label))
            return {name: value.numpy() for name, value in layer(raw).items()}

        apply.path = out / "tft"
        yield apply


def test_integer_ids_are_buckets_of_their_decimal_string(transform):
    out = transform({"doc_event_id": 0, "ad_id": 1403}, {"doc_event_id": None, "ad_id": -1})
    np.testing.assert_array_equal(out["doc_event_id"], [172735, -1])
    np.testing.assert_array_equal(out["ad_id"], [226824, -1])
    assert out["ad_id"].dtype == np.int64


def test_string_ids_are_buckets_and_the_empty_string_is_missing(transform):
    # The buckets are the example in TensorFlow's docs of to_hash_bucket_fast.
    out = transform(*({"word": w} for w in ("Hello", "TensorFlow", "2.x", "", None)))
    np.testing.assert_array_equal(out["word"], [0, 2, 2, -1, -1])


def test_id_lists_are_cut_and_padded(transform):
    out = transform({"topics": [0, 0]}, {"topics": None}, {"topics": []}, {"topics": [0, 0, 0, 0]})
    zero = 172735
    np.testing.assert_array_equal(out["topics"], [[zero, zero, -1], [-1] * 3, [-1] * 3, [zero] * 3])


def test_lists_that_are_all_short_are_padded_to_hotness(transform):
    assert transform({"topics": None})["topics"].tolist() == [[-1, -1, -1]]


def test_indicator_out_of_range_is_missing(transform):
    out = transform(*({"event_platform": p} for p in (0, 2, 3, -1, None)))
    np.testing.assert_array_equal(out["event_platform"], [0, 2, -1, -1, -1])


def test_log_scale_fills_zero(transform):
    out = transform(*({"doc_views": v} for v in (0, 1, 3, None)))
    np.testing.assert_allclose(out["doc_views"], [0.0, 0.5, 1.0, 0.0], atol=1e-6)
    assert out["doc_views"].dtype == np.float32


def test_log1000_scale_fills_the_mean_of_the_scaled_values(transform):
    out = transform(*({"pop_ad_id": v} for v in (0.0, 0.001, 0.003, None, NAN)))
    np.testing.assert_allclose(out["pop_ad_id"], [0.0, 0.5, 1.0, 2 / 3, 2 / 3], atol=1e-6)


def test_raw_scale_is_untouched_and_fills_the_mean(transform):
    out = transform(*({"raw_number": v} for v in (-7.5, 1e6, None)))
    np.testing.assert_allclose(out["raw_number"], [-7.5, 1e6, 2.0])


def test_values_outside_the_train_range_are_clipped(transform):
    out = transform(*({"ad_views": v} for v in (0, 1, 3, 1000, -5)))
    np.testing.assert_allclose(out["ad_views"], [0.0, 0.0, 1.0, 1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("name", ["pop_document_id", "pop_source_id"], ids=["constant", "wholly missing"])
def test_columns_without_a_range_become_zero(transform, name):
    np.testing.assert_array_equal(transform({name: 0.25}, {name: 0.9}, {name: None})[name], [0.0, 0.0, 0.0])


def test_encoding_chooses_the_outputs(transform):
    out = transform({})
    assert "ad_campaign" in out
    assert "doc_id" not in out
    assert set(out) - {"display_id", "label"} == {f.name for f in features.model_inputs(add=["ad_campaign"], drop=["doc_id"])}


def test_keys_pass_through_and_may_be_absent(transform):
    out = transform({}, {"label": None, "display_id": 8})
    np.testing.assert_array_equal(out["display_id"], [7, 8])
    np.testing.assert_array_equal(out["label"], [1, -1])
    served = transform({"doc_views": 1}, label=False)
    assert "label" not in served
    assert served["doc_views"] == pytest.approx(0.5)


def test_graph_has_no_python(transform):
    graph = (transform.path / "transform_fn" / "saved_model.pb").read_bytes()
    assert b"StringToHashBucketFast" in graph
    assert b"PyFunc" not in graph


@pytest.mark.parametrize("dense", [tf.constant([3, -1], tf.int64), tf.constant([[3, 9], [-1, 9]], tf.int64)], ids=["n", "n, k"])
def test_dense_and_sparse_columns_are_the_same(dense):
    sparse = tf.sparse.from_dense(tf.constant([[4, 0], [0, 0]], tf.int64))
    sparse = sparse.with_values(sparse.values - 1)  # [[3], []]
    ad_id = next(f for f in features.FEATURES if f.name == "ad_id")
    np.testing.assert_array_equal(_encode_category(ad_id, dense), _encode_category(ad_id, sparse))


def test_max_buckets_bounds_the_buckets():
    inputs = {f.name: tf.zeros((2,), tf.as_dtype(f.dtype)) for f in features.FEATURES if f.kind != "numeric"}
    numbers = [f.name for f in features.FEATURES if f.kind == "numeric"]
    out = preprocessing_fn(inputs, {"encoding": {"max_buckets": 10, "drop": numbers}})
    assert out["doc_event_id"].numpy().tolist() == [5, 5]  # 172735 mod 10: 10 divides 300000


def test_a_schema_without_a_feature_is_a_config_error():
    with pytest.raises(ConfigError, match="doc_event_id"):
        preprocessing_fn({}, {})
