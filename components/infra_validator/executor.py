"""The InfraValidator's executor: a model and raw requests in, an InfraBlessing out."""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.infra_validator.check import check_model
from schemas.config import InfraConfig
from schemas.errors import InputDataError

_log = logging.getLogger(__name__)

BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
BLESSED_PROPERTY = "blessed"
"""Marker files and property of TFX's InfraValidator; the property is what TFX's Pusher reads."""


class Executor(base_executor.BaseExecutor):
    """Checks whether a server can serve the model (`components.infra_validator.check`).

    A model that fails is no error: its blessing says so, the pipeline goes on, and the Pusher pushes nothing.
    """

    def Do(  # noqa: N802 - TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the checks.

        Args:
            input_dict: `model`, and `examples` with a split `eval`, from which the requests are taken.
            output_dict: `infra_blessing`; gets `infra.json`, and the marker file and property of TFX's InfraValidator.
            exec_properties: `infra`, an `InfraConfig` as JSON.
        """
        config = InfraConfig.model_validate_json(exec_properties["infra"])
        model = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
        split = artifact_utils.get_split_uri(input_dict[standard_component_specs.EXAMPLES_KEY], "eval")
        folder = path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))
        report = check_model(Path(folder), read_displays(split, config.requests), config)
        for reason in report.reasons:
            _log.info("infra check %s: %s", "passed" if report.passed else "failed", reason)
        blessing = artifact_utils.get_single_instance(output_dict["infra_blessing"])
        out = Path(blessing.uri)
        out.mkdir(parents=True, exist_ok=True)
        report.write(out)
        (out / (BLESSED_FILE if report.passed else NOT_BLESSED_FILE)).touch()
        blessing.set_int_custom_property(BLESSED_PROPERTY, int(report.passed))


def read_displays(split: str, requests: int) -> list[list[bytes]]:
    """Returns the first `requests` serialised Examples of a split by display; the last display may lack some of its ads.

    Raises:
        InputDataError: A file of the split is damaged.
    """
    return [[example for _, example in group] for _, group in groupby(_examples(split, requests), key=lambda pair: pair[0])]


def _examples(split: str, requests: int) -> Iterator[tuple[int, bytes]]:
    """Yields display_id, serialised."""
    import tensorflow as tf

    files = _files(split)
    try:
        for record in tf.data.TFRecordDataset(files, "GZIP").take(requests).as_numpy_iterator() if files else ():
            feature = tf.train.Example.FromString(record).features.feature["display_id"]
            yield feature.int64_list.value[0], record
    except tf.errors.DataLossError as error:
        raise InputDataError(f"{split}: damaged: {str(error.message).splitlines()[0]}") from error


def _files(split: str) -> Sequence[str]:
    return sorted(str(path) for path in Path(split).glob("*") if path.is_file())
