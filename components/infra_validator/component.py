"""The InfraValidator as a TFX component."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.infra_validator.executor import Executor
from schemas.config import InfraConfig


class InfraValidatorSpec(component_spec.ComponentSpec):
    """What goes into the InfraValidator and comes out of it."""

    PARAMETERS = {
        "infra": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"infra_blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class InfraValidator(base_component.BaseComponent):
    """Checks whether a server can serve the model, in place of TFX's InfraValidator, which needs docker or a cluster.

    Component `outputs` contains `infra_blessing`, a `standard_artifacts.InfraBlessing` as TFX's InfraValidator would write it,
    plus `infra.json` with every check.
    """

    SPEC_CLASS = InfraValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, model: types.BaseChannel, examples: types.BaseChannel, infra: InfraConfig, code: str = ""):
        """Constructs an InfraValidator.

        Args:
            model: The Trainer's `model`.
            examples: Raw Examples with a split `eval`; the requests are taken from it.
            infra: The bounds.
            code: Digest of the checks' code, which lineage keeps.
        """
        super().__init__(
            InfraValidatorSpec(
                model=model,
                examples=examples,
                infra=infra.model_dump_json(),
                code=code,
                infra_blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
