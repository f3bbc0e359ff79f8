"""The Gate's executor: metrics in, verdict and blessing out."""

import logging
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.evaluator.results import OVERALL, read_evaluation
from components.gate.verdict import decide
from schemas.config import GateConfig
from schemas.errors import ConfigError

_log = logging.getLogger(__name__)

VERDICT_FILE = "verdict.json"


class Executor(base_executor.BaseExecutor):
    """Decides whether the model may go out.

    A refused model is no error: its blessing says so, the pipeline goes on, and the Pusher pushes nothing.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the gate.

        Args:
            input_dict: `evaluation`, `model` and, unless there is no blessed model yet, `baseline_model`.
            output_dict: `blessing`; gets `verdict.json`, the marker file and the properties that TFX's Pusher and
                LatestBlessedModelStrategy read.
            exec_properties: `gate`, a `GateConfig` as JSON.

        Raises:
            InputDataError: The evaluation is empty.
            ConfigError: There is a baseline model that the evaluation knows nothing of.
        """
        evaluation = read_evaluation(artifact_utils.get_single_uri(input_dict["evaluation"]))
        model = artifact_utils.get_single_instance(input_dict["model"])
        baselines = input_dict.get("baseline_model", [])
        if baselines and evaluation.baseline is None:
            raise ConfigError("Gate has a baseline_model, but the Evaluator had none; wire the same channel to both")

        verdict = decide(
            evaluation.candidate[OVERALL],
            evaluation.baseline[OVERALL] if evaluation.baseline else None,
            GateConfig.model_validate_json(exec_properties["gate"]),
        )
        for reason in verdict.reasons:
            _log.info("%s: %s", "blessed" if verdict.blessed else "not blessed", reason)

        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        folder = Path(blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / VERDICT_FILE).write_text(verdict.to_json() + "\n")
        (folder / (constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME)).touch()
        blessing.set_int_custom_property(
            constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.BLESSED_VALUE if verdict.blessed else constants.NOT_BLESSED_VALUE
        )
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
        for baseline in baselines:
            blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
            blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
