"""The TFX component."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.prebatch.executor import Executor


class PrebatchSpec(ComponentSpec):
    """What goes into Prebatch and comes out of it."""

    PARAMETERS = {"config": ExecutionParameter(type=str), "code": ExecutionParameter(type=str)}
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "transformed_examples": ChannelParameter(type=standard_artifacts.Examples),
        "transform_graph": ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS = {"records": ChannelParameter(type=standard_artifacts.Examples)}


class Prebatch(base_beam_component.BaseBeamComponent):
    """Turns transformed Examples into records (`schemas.records`), shuffled by display.

    Component `outputs` contains `records`: Split-train/ and Split-eval/, each with a manifest, and replay/, some raw Examples of
    the eval split, on which the Trainer checks what it exports.

    Args:
        examples: The raw Examples.
        transformed_examples: What Transform made of them.
        transform_graph: Transform's other output.
        config: The `prebatch` and `encoding` sections of the configuration.
        code: Digest of the code; another one means the step is run again.
    """

    SPEC_CLASS = PrebatchSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        transformed_examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        config: dict[str, Any],
        code: str,
    ):
        super().__init__(
            spec=PrebatchSpec(
                examples=examples,
                transformed_examples=transformed_examples,
                transform_graph=transform_graph,
                config=json.dumps(config, sort_keys=True),
                code=code,
                records=types.Channel(type=standard_artifacts.Examples),
            )
        )
