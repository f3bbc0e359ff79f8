"""Runs Transform on made-up rows, for tests of the preprocessing_fn and of what comes after it."""

import functools
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder
from tfx_bsl.public import tfxio

from schemas import serving
from transforms.examples import encode
from transforms.preprocessing import preprocessing_fn


def run_transform(splits: dict[str, pa.Table], out: Path, encoding: dict[str, Any]) -> None:
    """Runs Transform under an `encoding` section, fitted to the split `train`.

    Writes the TFT output to `out`/tft, and the transformed Examples of each split to two files in `out`/SPLIT.
    """
    schema = schema_utils.schema_from_feature_spec(serving.raw_feature_spec(label=True))
    source = tfxio.TFExampleBeamRecord(physical_format="inmem", telemetry_descriptors=["test"], schema=schema)
    config = source.TensorAdapterConfig()
    with beam.Pipeline(runner=FnApiRunner()) as pipeline, tft_beam.Context(temp_dir=str(out / "tmp")):
        raw = {
            name: pipeline | f"Create[{name}]" >> beam.Create(encode(rows)) | f"Read[{name}]" >> source.BeamSource()
            for name, rows in splits.items()
        }
        bound = functools.partial(preprocessing_fn, custom_config={"encoding": encoding})
        transform_fn = (raw["train"], config) | tft_beam.AnalyzeDataset(bound)
        transform_fn | tft_beam.WriteTransformFn(str(out / "tft"))
        for name, batches in raw.items():
            data, metadata = ((batches, config), transform_fn) | f"Transform[{name}]" >> tft_beam.TransformDataset(
                output_record_batches=True
            )
            encoder = RecordBatchToExamplesEncoder(metadata.schema)
            (
                data
                | f"Encode[{name}]" >> beam.FlatMapTuple(lambda batch, _, encoder=encoder: encoder.encode(batch))
                | f"Write[{name}]" >> beam.io.WriteToTFRecord(str(out / name / "transformed"), file_name_suffix=".gz", num_shards=2)
            )
