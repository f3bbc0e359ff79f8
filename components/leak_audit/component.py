"""The TFX component."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import AuditReport
from components.leak_audit.executor import Executor


class LeakAuditSpec(ComponentSpec):
    """What goes into the LeakAudit and comes out of it."""

    PARAMETERS = {"config": ExecutionParameter(type=str), "code": ExecutionParameter(type=str)}
    INPUTS = {"examples": ChannelParameter(type=standard_artifacts.Examples)}
    OUTPUTS = {"audit": ChannelParameter(type=AuditReport)}


class LeakAudit(base_component.BaseComponent):
    """Ranks the rows of train and eval by each feature alone, and says which features know more about train.

    Component `outputs` contains `audit`, a folder with `audit.json`, which the Gate reads.

    Args:
        examples: The raw Examples.
        config: The `audit` and `features` sections of the configuration.
        code: Digest of the code; another one means the step is run again.
    """

    SPEC_CLASS = LeakAuditSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, *, examples: types.BaseChannel, config: dict[str, Any], code: str):
        super().__init__(
            spec=LeakAuditSpec(
                examples=examples,
                config=json.dumps(config, sort_keys=True),
                code=code,
                audit=types.Channel(type=AuditReport),
            )
        )
