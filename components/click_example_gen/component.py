"""The TFX component."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.artifacts import IngestReport
from components.click_example_gen.executor import Executor


class ClickExampleGenSpec(types.ComponentSpec):
    """Parameters are strings, so that they show in the metadata store as they are."""

    PARAMETERS = {
        "data": ExecutionParameter(type=str),
        "fingerprint": ExecutionParameter(type=str),
        "code": ExecutionParameter(type=str),
        "config": ExecutionParameter(type=str),
        "rejects_dir": ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "ingest_report": ChannelParameter(type=IngestReport),
    }


class ClickExampleGen(base_beam_component.BaseBeamComponent):
    """Turns the raw tables into tf.Examples, one a (display, ad), split into train and eval.

    Args:
        data: Folder of the raw tables.
        fingerprint: Digest of the tables (`transforms.contents.fingerprint`); another one means the step is run again.
        code: Digest of the code that makes features; another one means the step is run again.
        config: The `ingest`, `split` and `features` sections of the configuration.
        rejects_dir: Where the bad rows go if there are so many that the run stops; otherwise they are in `ingest_report`.
    """

    SPEC_CLASS = ClickExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(self, *, data: str, fingerprint: str, code: str, config: dict[str, Any], rejects_dir: str):
        super().__init__(
            spec=ClickExampleGenSpec(
                data=data,
                fingerprint=fingerprint,
                code=code,
                config=json.dumps(config, sort_keys=True),
                rejects_dir=rejects_dir,
                examples=types.Channel(type=standard_artifacts.Examples),
                ingest_report=types.Channel(type=IngestReport),
            )
        )
