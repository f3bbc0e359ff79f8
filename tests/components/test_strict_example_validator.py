import json
from pathlib import Path

import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator.executor import tfdv  # TFX makes it importable beside this tfx_bsl
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx_bsl.coders import example_coder

from components.strict_example_validator import Executor, StrictExampleValidator, describe
from schemas.data_schema import render
from schemas.errors import InputDataError, recover
from tests.rows import random_rows
from transforms.examples import encode


@pytest.fixture
def validate(tmp_path):
    """Runs the executor on the statistics of the given splits; returns the anomalies artifact."""

    def validate(splits, exclude=()):
        statistics, schema, anomalies = (
            standard_artifacts.ExampleStatistics(),
            standard_artifacts.Schema(),
            standard_artifacts.ExampleAnomalies(),
        )
        for artifact, name in ((statistics, "statistics"), (schema, "schema"), (anomalies, "anomalies")):
            artifact.uri = str(tmp_path / name)
        statistics.split_names = artifact_utils.encode_split_names(list(splits))
        statistics.span = 0
        for split, rows in splits.items():
            batch = example_coder.ExamplesToRecordBatchDecoder().DecodeBatch(encode(rows))
            stats = tfdv.statistics.stats_impl.generate_statistics_in_memory(batch)
            folder = tmp_path / "statistics" / f"Split-{split}"
            folder.mkdir(parents=True)
            (folder / "FeatureStats.pb").write_bytes(stats.SerializeToString())
        (tmp_path / "schema").mkdir()
        (tmp_path / "schema" / "schema.pbtxt").write_text(render())
        Executor().Do(
            {"statistics": [statistics], "schema": [schema]}, {"anomalies": [anomalies]}, {"exclude_splits": json.dumps(exclude)}
        )
        return anomalies

    return validate


def bad_rows():
    rows = random_rows(20)
    ctr = pa.array([1.5] * rows.num_rows, pa.float32())
    rows = rows.set_column(rows.column_names.index("pop_ad_id"), "pop_ad_id", ctr)
    return rows.drop_columns(["uuid"])


def test_good_data_passes(validate, tmp_path):
    anomalies = validate({"train": random_rows(20), "eval": random_rows(20, seed=1)})
    assert artifact_utils.decode_split_names(anomalies.split_names) == ["train", "eval"]
    assert sorted(path.parent.name for path in Path(tmp_path, "anomalies").rglob("SchemaDiff.pb")) == ["Split-eval", "Split-train"]


def test_bad_data_stops_the_run_and_is_written_down(validate, tmp_path):
    with pytest.raises(InputDataError) as raised:
        validate({"train": random_rows(20), "eval": bad_rows()})
    message = str(raised.value)
    assert "\n" not in message
    assert "eval pop_ad_id: Out-of-range values: Unexpectedly high value: 1.5>1" in message
    assert "eval uuid: Column dropped" in message
    assert "train" not in message
    written = anomalies_pb2.Anomalies.FromString((tmp_path / "anomalies/Split-eval/SchemaDiff.pb").read_bytes())
    assert sorted(written.anomaly_info) == ["pop_ad_id", "uuid"]
    # What a Beam worker or a runner makes of it can be read back.
    assert str(recover(RuntimeError(f"schemas.errors.InputDataError: {message} [while running 'x']"))) == message


def test_excluded_splits_are_not_looked_at(validate):
    validate({"train": random_rows(20), "eval": bad_rows()}, exclude=["eval"])


def test_describe_is_one_line_each_and_sorted():
    anomalies = anomalies_pb2.Anomalies()
    for name in ("b", "a"):
        anomalies.anomaly_info[name].reason.add(short_description="Short", description="long\nand  wide")
    anomalies.dataset_anomaly_info.description = "too few"
    assert describe(anomalies) == ["a: Short: long and wide", "b: Short: long and wide", "data set: too few"]


def test_component():
    component = StrictExampleValidator(
        statistics=channel.Channel(standard_artifacts.ExampleStatistics), schema=channel.Channel(standard_artifacts.Schema)
    )
    assert component.executor_spec.executor_class is Executor
    assert component.outputs["anomalies"].type is standard_artifacts.ExampleAnomalies
