"""Runs Prebatch for TFX, all or nothing."""

import json
import os
from typing import Any

from tfx import types
from tfx.components.example_gen import utils as example_gen_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

from components.prebatch.job import SPLITS, prebatch
from schemas.config import EncodingConfig, PrebatchConfig


class Executor(base_beam_executor.BaseBeamExecutor):
    """See `Prebatch`."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See `components.prebatch.job.prebatch`."""
        config = json.loads(exec_properties["config"])
        records = artifact_utils.get_single_instance(output_dict["records"])
        # A folder of its own: TFX lets Beam use the temporary directory of an execution, too.
        work = os.path.join(self._get_tmp_dir(), "prebatch")
        fileio.makedirs(work)
        written = prebatch(
            self._make_beam_pipeline,
            {split: _files(input_dict["transformed_examples"], split) for split in SPLITS},
            _files(input_dict["examples"], "eval"),
            artifact_utils.get_single_uri(input_dict["transform_graph"]),
            PrebatchConfig(**config["prebatch"]),
            EncodingConfig(**config["encoding"]),
            work,
        )
        for name in written:
            fileio.rename(os.path.join(work, name), os.path.join(records.uri, name))
        records.split_names = artifact_utils.encode_split_names(list(SPLITS))
        records.set_string_custom_property(example_gen_utils.FILE_FORMAT_PROPERTY_NAME, "tfrecords")


def _files(artifacts: list[types.Artifact], split: str) -> list[str]:
    return sorted(map(str, fileio.glob(os.path.join(artifact_utils.get_split_uri(artifacts, split), "*"))))
