"""Runs Transform and Prebatch on made-up rows, for tests of what trains on them."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from components.prebatch.job import SPLITS, prebatch
from schemas.config import EncodingConfig, PrebatchConfig
from tests.transformed import run_transform
from transforms.examples import encode


def run_prebatch(splits: dict[str, pa.Table], out: Path, encoding: dict[str, Any], **config: int) -> None:
    """Writes what `tests.transformed.run_transform` does to `out`, the raw eval Examples, and records in `out`/records."""
    run_transform(splits, out, encoding)
    raw = str(out / "raw.gz")
    with tf.io.TFRecordWriter(raw, "GZIP") as writer:
        for example in encode(splits["eval"]):
            writer.write(example)
    pack(out, encoding, out / "records", **config)


def pack(out: Path, encoding: dict[str, Any], records: Path, **config: int) -> None:
    """Writes records of what `run_transform` wrote to `out`."""
    records.mkdir()
    prebatch(
        lambda: beam.Pipeline(runner=FnApiRunner()),
        {split: sorted(map(str, (out / split).glob("*.gz"))) for split in SPLITS},
        [str(out / "raw.gz")],
        str(out / "tft"),
        PrebatchConfig(**config),
        EncodingConfig(**encoding),
        str(records),
    )
