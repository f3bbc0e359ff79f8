from pathlib import Path

import pyarrow as pa
import pytest
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx.components.example_validator.executor import tfdv  # TFX makes it importable beside this tfx_bsl

from schemas import data_schema, features
from schemas.data_schema import build_schema, render
from schemas.serving import raw_feature_spec
from tests.rows import random_rows
from transforms.examples import encode

SCHEMA_FILE = Path(data_schema.__file__).with_name("schema.pbtxt")


def anomalies(rows, extra=None, environment=None):
    """Returns feature -> description of what TFDV finds in rows encoded as the pipeline does."""
    import tensorflow as tf
    from tfx_bsl.coders import example_coder

    encoded = encode(rows)
    if extra:
        name, values = extra
        for i, value in enumerate(values):
            example = tf.train.Example.FromString(encoded[i])
            example.features.feature[name].CopyFrom(value)
            encoded[i] = example.SerializeToString()
    batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(encoded)
    generator = tfdv.statistics.stats_impl.generate_statistics_in_memory
    found = tfdv.validate_statistics(generator(batch), build_schema(), environment=environment)
    return {name: info.description for name, info in found.anomaly_info.items()}


@pytest.fixture
def rows():
    return random_rows(30)


def put(rows, name, value, row=3):
    """Replaces one value of a column."""
    values = rows[name].to_pylist()
    values[row] = value
    return rows.set_column(rows.column_names.index(name), name, pa.array(values, rows.schema.field(name).type))


def test_the_committed_file_is_up_to_date():
    assert SCHEMA_FILE.read_text() == render(), "run: python -m schemas.data_schema > schemas/schema.pbtxt"
    assert text_format.Parse(SCHEMA_FILE.read_text(), schema_pb2.Schema()) == build_schema()


def test_every_column_in_order():
    schema = build_schema()
    assert [f.name for f in schema.feature] == list(features.columns())
    assert all(f.annotation.comment for f in schema.feature)


def test_random_rows_fit(rows):
    assert anomalies(rows) == {}


def test_all_features_may_be_missing_at_once(rows):
    assert anomalies(rows.select([key.name for key in features.KEYS])) == {}


@pytest.mark.parametrize("key", features.KEYS, ids=lambda key: key.name)
def test_keys_may_not_be_missing(rows, key):
    assert list(anomalies(rows.drop_columns([key.name]))) == [key.name]
    assert list(anomalies(put(rows, key.name, None))) == [key.name]


def test_the_label_is_absent_at_serving(rows):
    assert anomalies(rows.drop_columns(["label"]), environment="SERVING") == {}
    assert list(anomalies(rows.drop_columns(["label"]), environment="TRAINING")) == ["label"]


TOO_HIGH = (
    {group.feature: 1.01 for group in features.CTR_GROUPS}
    | {f.name: f.buckets for f in features.FEATURES if f.kind == "indicator"}
    | {f.name: 3651 for f in features.FEATURES if "_days_" in f.name}
    | {"label": 2}
)
TOO_LOW = (
    {group.feature: -0.01 for group in features.CTR_GROUPS}
    | {f.name: [-1] if f.kind == "ids" else -1 for f in features.FEATURES if f.dtype == "int64"}
    | {"display_id": -1, "timestamp": -1, "label": -1, "ads_per_display": 0}
)
NOT_A_NUMBER = {name: float("nan") for name, dtype in features.columns().items() if dtype == "float32"}


@pytest.mark.parametrize("wrong", [TOO_HIGH, TOO_LOW, NOT_A_NUMBER], ids=["too high", "too low", "NaN"])
def test_values_out_of_range_are_named(rows, wrong):
    for name, value in wrong.items():
        rows = put(rows, name, value)
    assert set(anomalies(rows)) == set(wrong)


def test_one_bad_value_names_one_feature(rows):
    found = anomalies(put(rows, "pop_campaign_id", 1.01))
    assert list(found) == ["pop_campaign_id"]
    assert "1.01" in found["pop_campaign_id"]


@pytest.mark.parametrize(("name", "value"), [("ad_id", "seven"), ("event_country", 7), ("pop_ad_id", 1), ("doc_id", 0.5)])
def test_wrong_types_are_named(rows, name, value):
    changed = rows.set_column(rows.column_names.index(name), name, pa.array([value] * rows.num_rows))
    if changed[name].type == pa.float64():
        changed = changed.set_column(changed.column_names.index(name), name, changed[name].cast(pa.float32()))
    assert list(anomalies(changed)) == [name]


def test_several_values_are_named(rows):
    import tensorflow as tf

    two = tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2]))
    assert list(anomalies(rows, ("doc_id", [two]))) == ["doc_id"]


def test_unexpected_columns_are_named(rows):
    changed = rows.append_column("leaked_label", rows["label"])
    assert list(anomalies(changed)) == ["leaked_label"]


def test_parsing_is_that_of_the_serving_contract():
    spec = schema_utils.schema_as_feature_spec(build_schema()).feature_spec
    assert {name: str(one).replace("[]", "()") for name, one in spec.items()} == {
        name: str(one) for name, one in raw_feature_spec(label=True).items()
    }


def test_transform_reads_and_writes_by_it(rows, tmp_path):
    """TFT analyses and transforms examples parsed by the schema; missing values arrive as sparse tensors without an entry."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tfx_bsl.public import tfxio

    def preprocess(inputs):
        filled = tf.sparse.to_dense(
            tf.SparseTensor(inputs["pop_ad_id"].indices, inputs["pop_ad_id"].values, [tf.shape(inputs["label"])[0], 1]), -1.0
        )
        return {
            "display_id": inputs["display_id"],
            "pop": filled[:, 0],
            "largest": tft.max(inputs["timestamp"]) + 0 * inputs["timestamp"],
        }

    rows = put(put(rows, "pop_ad_id", None), "timestamp", 999, 0)
    path = tmp_path / "rows"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in encode(rows):
            writer.write(example)
    source = tfxio.TFExampleRecord(str(path), schema=build_schema())
    options = beam.options.pipeline_options.PipelineOptions(["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"])
    with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(tmp_path / "tft")):
        data = (pipeline | source.BeamSource(), source.TensorAdapterConfig())
        (transformed, _), _ = data | tft_beam.AnalyzeAndTransformDataset(preprocess, output_record_batches=False)
        _ = transformed | beam.Map(str) | beam.io.WriteToText(str(tmp_path / "out"))
    lines = [line for file in tmp_path.glob("out*") for line in file.read_text().splitlines()]
    assert len(lines) == rows.num_rows
    largest = max(rows["timestamp"].to_pylist())
    assert all(f"'largest': {largest}" in line or f"'largest': np.int64({largest})" in line for line in lines)
