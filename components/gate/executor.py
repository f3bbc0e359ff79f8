"""The Gate's executor: evidence in, verdict and blessing out."""

import logging
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.gate.evidence import read_evidence
from components.gate.verdict import decide
from schemas.config import GateConfig

_log = logging.getLogger(__name__)

VERDICT_FILE = "verdict.json"
REASONS_KEY = "reasons"
"""Property of the blessing: the verdict's reasons, one a line."""


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
            input_dict: `evaluation`, `model`; `baseline_model`, unless there is no blessed model yet; `audit`, unless the features
                were not audited.
            output_dict: `blessing`; gets `verdict.json`, the marker file and the properties that TFX's Pusher and
                LatestBlessedModelStrategy read, beside the reasons.
            exec_properties: `gate`, a `GateConfig` as JSON.

        Raises:
            InputDataError: An input is empty or damaged, or does not belong to the others.
            ConfigError: There is a baseline model that the evaluation knows nothing of.
        """
        model = artifact_utils.get_single_instance(input_dict["model"])
        baselines, audits = input_dict.get("baseline_model", []), input_dict.get("audit", [])
        evidence = read_evidence(
            artifact_utils.get_single_uri(input_dict["evaluation"]),
            model.uri,
            audits[0].uri if audits else None,
            has_baseline=bool(baselines),
        )
        verdict = decide(evidence, GateConfig.model_validate_json(exec_properties["gate"]))
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
        blessing.set_string_custom_property(REASONS_KEY, "\n".join(verdict.reasons))
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
        for baseline in baselines:
            blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline.uri)
            blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, baseline.id)
