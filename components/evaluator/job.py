"""What the Evaluator does, on any Beam pipeline: TFMA's own, with our evaluator in it."""

import posixpath
from collections.abc import Callable, Sequence

import apache_beam as beam
import tensorflow as tf
from tensorflow_model_analysis.api import model_eval_lib as tfma
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import config_util

from components.evaluator import vectorised
from components.evaluator.read import ReadExamples

PARTITION_BYTES = 32 << 20
"""Compressed Examples of a partition of displays; a worker holds that many rows, of the columns that are read, at once."""

MakePipeline = Callable[[], beam.Pipeline]


def share_models(
    config: config_pb2.EvalConfig, candidate: str, baseline: str | None
) -> tuple[config_pb2.EvalConfig, types.MaybeMultipleEvalSharedModels]:
    """Returns the configuration for that many models, and the models as TFMA takes them.

    Args:
        config: As `components.evaluator.eval_config` makes it, with a baseline.
        candidate: Folder of the SavedModel.
        baseline: Folder of the one to compare with; None if there is none.
    """
    config = config_util.update_eval_config_with_defaults(config, has_baseline=baseline is not None, rubber_stamp=True)
    config_util.verify_eval_config(config)
    shared = [
        tfma.default_eval_shared_model(baseline if spec.is_baseline else candidate, model_name=spec.name, eval_config=config)
        for spec in config.model_specs
    ]
    return config, shared[0] if len(shared) == 1 else shared


def evaluate(
    make_pipeline: MakePipeline,
    files: Sequence[str],
    config: config_pb2.EvalConfig,
    models: types.MaybeMultipleEvalSharedModels,
    evaluation: str,
    work: str,
) -> None:
    """Evaluates models.

    Args:
        make_pipeline: Makes a new Beam pipeline.
        files: GZIP TFRecord files of raw tf.Examples, one at least.
        config: Models and slices; this and `models` as `share_models` returned them.
        models: The models.
        evaluation: Where the result goes: what TFMA writes, and `displays/`.
        work: Folder for what is in flight, made if need be; all workers reach it.

    Raises:
        InputDataError: Rows lack what every row must have, or a model does not give one score a row.
    """
    partitions = 1 + sum(tf.io.gfile.stat(file).length for file in files) // PARTITION_BYTES
    flight = posixpath.join(work, "rows")
    tf.io.gfile.makedirs(flight)
    with make_pipeline() as pipeline:
        _ = (
            pipeline
            | "Read" >> ReadExamples(files)
            | "Evaluate"
            >> tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=models,
                eval_config=config,
                extractors=vectorised.extractors(config, models),
                evaluators=[vectorised.evaluator(config, partitions, flight)],
                writers=[
                    *tfma.default_writers(evaluation, eval_shared_model=models, eval_config=config),
                    vectorised.displays_writer(evaluation, partitions),
                ],
            )
        )
