"""What the benchmark of the evaluation evaluates: python -m benchmarks.evaluate_rows LOG OUT FIRST MORE.

Writes into the new folder OUT:

* `rows-NNNNN.gz`: raw tf.Examples, FIRST rows in the first file, MORE rows in the others. They are the feature rows of the log LOG,
  again and again, each time as other displays; the last display of a file may be cut.
* `candidate/`, `baseline/`: models of the default size as the Trainer exports them, with the Transform of these rows and first
  weights of two seeds. How good they are does not matter here.
"""

import functools
import sys
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.public import tfxio

from benchmarks.feature_rows import compute, read
from components.trainer.export import export
from components.trainer.model import build_model
from schemas import serving
from schemas.beam import LOCAL_BEAM_RUNNER
from schemas.config import EncodingConfig, FeaturesConfig, ModelConfig
from transforms.examples import arrow_schema, encode
from transforms.preprocessing import preprocessing_fn

MODELS = ("candidate", "baseline")
_SAMPLE = 4096
"""Rows that Transform is fitted to."""


def write_rows(base: pa.Table, out: Path, first: int, more: int) -> None:
    """Writes the files of rows; `base` must have `first` rows at least."""
    if base.num_rows < first:
        raise ValueError(f"the log must have {first} rows at least. Received: {base.num_rows}")
    distance = pc.max(base["display_id"]).as_py() + 1
    place = base.column_names.index("display_id")
    sizes = [first] + [min(base.num_rows, more - start) for start in range(0, more, base.num_rows)]
    for number, size in enumerate(sizes):
        part = base.set_column(place, "display_id", pc.add(base["display_id"], number * distance)).slice(0, size)
        options = tf.io.TFRecordOptions("GZIP", compression_level=1)
        with tf.io.TFRecordWriter(str(out / f"rows-{number:05d}.gz"), options) as writer:
            for example in encode(part):
                writer.write(example)


def write_models(base: pa.Table, out: Path, model: ModelConfig) -> None:
    """Fits Transform to some of the rows, and exports both models."""
    encoding = EncodingConfig()
    schema = schema_utils.schema_from_feature_spec(serving.raw_feature_spec(label=True))
    source = tfxio.TFExampleBeamRecord(physical_format="inmem", telemetry_descriptors=["bench"], schema=schema)
    with beam.Pipeline(runner=LOCAL_BEAM_RUNNER) as pipeline, tft_beam.Context(temp_dir=str(out / "tmp")):
        raw = pipeline | beam.Create(encode(base.slice(0, _SAMPLE))) | source.BeamSource()
        bound = functools.partial(preprocessing_fn, custom_config={"encoding": encoding.model_dump(mode="json")})
        fitted = (raw, source.TensorAdapterConfig()) | tft_beam.AnalyzeDataset(bound)
        fitted | tft_beam.WriteTransformFn(str(out / "transform"))
    for seed, name in enumerate(MODELS):
        export(build_model(encoding.inputs(), model, seed), str(out / "transform"), str(out / name), FeaturesConfig())


def make(log: Path, out: Path, first: int, more: int, model: ModelConfig) -> None:
    """See the module; `model` is the size of the models."""
    out.mkdir()
    compute(log, out / "features")
    base = read(out / "features").select(arrow_schema().names)
    write_rows(base, out, first, more)
    write_models(base, out, model)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), ModelConfig())
