"""The Gate as a TFX component."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.artifacts import AuditReport
from components.gate.executor import Executor
from schemas.config import GateConfig


class GateSpec(component_spec.ComponentSpec):
    """What goes into the Gate and comes out of it."""

    PARAMETERS = {"gate": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        "evaluation": component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation),
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "baseline_model": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
        "audit": component_spec.ChannelParameter(type=AuditReport, optional=True),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing)}


class Gate(base_component.BaseComponent):
    """Blesses a model that earned it (`components.gate.verdict`).

    Component `outputs` contains `blessing`, a `standard_artifacts.ModelBlessing` as TFX's Evaluator would write it, plus
    `verdict.json` with every check.
    """

    SPEC_CLASS = GateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        evaluation: types.BaseChannel,
        model: types.BaseChannel,
        gate: GateConfig,
        baseline_model: types.BaseChannel | None = None,
        audit: types.BaseChannel | None = None,
        code: str = "",
    ):
        """Constructs a Gate.

        Args:
            evaluation: The Evaluator's `evaluation`, made with `components.evaluator.eval_config`.
            model: The Trainer's `model`, the same that the Evaluator got.
            gate: The bounds.
            baseline_model: The latest blessed model, the same that the Evaluator got; may resolve to nothing.
            audit: The LeakAudit's `audit`; without it the verdict says that features were not audited.
            code: Digest of the rule's code, so that a cached verdict is not one by an older rule.
        """
        super().__init__(
            GateSpec(
                evaluation=evaluation,
                model=model,
                baseline_model=baseline_model,
                audit=audit,
                gate=gate.model_dump_json(),
                code=code,
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
