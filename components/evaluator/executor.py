"""Runs the Evaluator for TFX."""

import json
import logging
import os
from typing import Any

import tensorflow as tf
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as specs
from tfx.utils import path_utils, proto_utils

from components.evaluator import job
from components.evaluator.models import check_model
from components.evaluator.results import write_baseline_problem
from schemas import features
from schemas.errors import InputDataError

_log = logging.getLogger(__name__)

_TRIED_ROWS = 4


class Executor(base_beam_executor.BaseBeamExecutor):
    """See `components.evaluator.component.Evaluator`."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `components.evaluator.job.evaluate`.

        Args:
            input_dict: `examples`, `model` and, unless there is no blessed model yet, `baseline_model`.
            output_dict: `evaluation`.
            exec_properties: `eval_config`, a tfma.EvalConfig as JSON, and `example_splits`, a JSON list.

        Raises:
            InputDataError: There are no rows to judge on, rows lack what every row must have, or `model` cannot be judged.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        evaluation = artifact_utils.get_single_uri(output_dict[specs.EVALUATION_KEY])
        files = _files(input_dict[specs.EXAMPLES_KEY], json.loads(exec_properties[specs.EXAMPLE_SPLITS_KEY]))
        some = _first_rows(files)
        candidate, baseline = _model_folder(input_dict[specs.MODEL_KEY]), None
        check_model(candidate, some, features.columns(), "the model")
        if input_dict.get(specs.BASELINE_MODEL_KEY):
            baseline = _model_folder(input_dict[specs.BASELINE_MODEL_KEY])
            try:
                check_model(baseline, some, features.columns(), "the latest blessed model")
            except InputDataError as error:
                _log.error("%s", error)
                write_baseline_problem(evaluation, str(error))
                baseline = None

        config = config_pb2.EvalConfig()
        proto_utils.json_to_proto(exec_properties[specs.EVAL_CONFIG_KEY], config)
        # A folder of its own: TFX lets Beam use the temporary directory of an execution, too.
        work = os.path.join(self._get_tmp_dir(), "evaluator")
        job.evaluate(self._make_beam_pipeline, files, *job.share_models(config, candidate, baseline), evaluation, work)


def _model_folder(artifacts: list[types.Artifact]) -> str:
    artifact = artifact_utils.get_single_instance(artifacts)
    return path_utils.serving_model_path(artifact.uri, path_utils.is_old_model_artifact(artifact))


def _files(artifacts: list[types.Artifact], splits: list[str]) -> list[str]:
    uris = [uri for split in splits for uri in artifact_utils.get_split_uris(artifacts, split)]
    files = sorted(str(file) for uri in uris for file in fileio.glob(os.path.join(uri, "*")))
    if not files:
        raise InputDataError(f"{', '.join(uris)}: there are no files to evaluate on; run the pipeline again from ClickExampleGen")
    return files


def _first_rows(files: list[str]) -> list[bytes]:
    """Returns a few tf.Examples, one at least."""
    try:
        rows = list(tf.data.TFRecordDataset(files, "GZIP").take(_TRIED_ROWS).as_numpy_iterator())
    except tf.errors.OpError as error:
        raise InputDataError(f"{files[0]}: {error.message}") from error
    if not rows:
        raise InputDataError(f"{files[0]}: the eval split is empty; see split.eval_days and split.eval_fraction")
    return rows
