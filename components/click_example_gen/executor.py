"""Runs feature engineering and writes its rows as tf.Examples, all or nothing."""

import json
import os
import time
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from tfx import types
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from schemas.config import FeaturesConfig, IngestConfig, SplitConfig
from schemas.errors import InputDataError
from schemas.tables import OUTBRAIN
from transforms import ingest_report
from transforms.base_rows import SPLIT
from transforms.compute_features import ComputeFeatures, write_ingest_report
from transforms.examples import encode
from transforms.feature_job import plan
from transforms.partition import Parcel, receive
from transforms.split import EVAL, SPLIT_NAMES, TRAIN

SPLITS = (TRAIN, EVAL)


class Executor(base_beam_executor.BaseBeamExecutor):
    """See `ClickExampleGen`."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes Split-train/ and Split-eval/ under the examples artifact, and the ingest report.

        Raises:
            InputDataError: The tables cannot be used, have too many bad rows, or leave a split empty.
        """
        config = json.loads(exec_properties["config"])
        ingest, split = IngestConfig(**config["ingest"]), SplitConfig(**config["split"])
        examples = artifact_utils.get_single_instance(output_dict["examples"])
        report = artifact_utils.get_single_instance(output_dict["ingest_report"]).uri
        work = self._get_tmp_dir()
        for folder in (report, work, *(f"{work}/Split-{SPLIT_NAMES[code]}" for code in SPLITS)):
            fileio.makedirs(folder)

        counts_path = os.path.join(report, ingest_report.COUNTS_FILE)
        rejects_path = os.path.join(report, ingest_report.REJECTS_FILE)
        job, rejects, counts = plan(exec_properties["data"], work, OUTBRAIN, ingest, FeaturesConfig(**config["features"]), split)
        with self._make_beam_pipeline() as pipeline:
            out = pipeline | ComputeFeatures(job)
            _ = out["rows"] | "WriteExamples" >> beam.Map(_write_examples, work, job.partitions)
            write_ingest_report(out, job, rejects, counts, report)
        self._check(ingest, split, counts_path, rejects_path, exec_properties["rejects_dir"])

        for code in SPLITS:
            name = f"Split-{SPLIT_NAMES[code]}"
            fileio.rename(os.path.join(work, name), os.path.join(examples.uri, name))
        examples.split_names = artifact_utils.encode_split_names([SPLIT_NAMES[code] for code in SPLITS])
        examples.set_string_custom_property(example_gen_utils.FILE_FORMAT_PROPERTY_NAME, "tfrecords_gzip")
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)

    def _get_tmp_dir(self) -> str:
        # A folder of its own: TFX lets Beam use the temporary directory of an execution, too.
        return os.path.join(super()._get_tmp_dir(), "click_example_gen")

    def _check(self, ingest: IngestConfig, split: SplitConfig, counts_path: str, rejects_path: str, rejects_dir: str) -> None:
        counts = ingest_report.read_counts(counts_path)
        # TFX deletes the outputs of a failed execution, so what explains the failure is kept elsewhere.
        kept = os.path.join(rejects_dir, time.strftime("rejects-%Y%m%d-%H%M%S.csv"))
        try:
            ingest_report.check_bad_rows(counts, ingest_report.first_rejects(rejects_path), ingest.max_bad_fraction, kept)
            ingest_report.check_known_ads(counts, ingest.max_unknown_ads)
            ingest_report.check_splits(counts, split)
        except InputDataError:
            fileio.makedirs(rejects_dir)
            fileio.copy(rejects_path, kept)
            raise


def _write_examples(element: tuple[int, Parcel], folder: str, partitions: int) -> None:
    """Writes one partition's rows to one file a split; doing it again gives the same files."""
    number, packed = element
    rows = receive(packed)
    for code in SPLITS:
        chosen = rows.filter(pc.equal(rows[SPLIT], pa.scalar(code))).drop_columns([SPLIT])
        if chosen.num_rows:
            final = f"{folder}/Split-{SPLIT_NAMES[code]}/data_tfrecord-{number:05d}-of-{partitions:05d}.gz"
            aside = f"{folder}/.{SPLIT_NAMES[code]}-{number:05d}-{os.getpid()}-{time.monotonic_ns()}"
            with tf.io.TFRecordWriter(aside, tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
                for example in encode(chosen):
                    writer.write(example)
            fileio.rename(aside, final, overwrite=True)
