"""The Evaluator as a TFX component."""

import json

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts, standard_component_specs
from tfx.types.component_spec import ExecutionParameter

from components.evaluator.eval_config import eval_config
from components.evaluator.executor import Executor
from schemas.config import EvaluateConfig


class EvaluatorSpec(standard_component_specs.EvaluatorSpec):
    """That of TFX's Evaluator, with a digest of the code."""

    PARAMETERS = {**standard_component_specs.EvaluatorSpec.PARAMETERS, "code": ExecutionParameter(type=str)}


class Evaluator(base_beam_component.BaseBeamComponent):
    """Judges a model, and the one it is compared with, on the same displays.

    Component `outputs` contains `evaluation`, a `standard_artifacts.ModelEvaluation`: what TFMA writes, `displays/` beside it
    (`components.evaluator.displays`), and `baseline.json` if there is a baseline model that cannot be judged; and `blessing`,
    which stays empty as it does with TFX's Evaluator where there are no thresholds.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        evaluate: EvaluateConfig,
        baseline_model: types.BaseChannel | None = None,
        split: str = "eval",
        code: str = "",
    ):
        """Constructs an Evaluator.

        Args:
            examples: Raw tf.Examples with the columns of the feature table.
            model: The model, a SavedModel that takes raw tf.Examples.
            evaluate: What to slice by.
            baseline_model: The model to compare with; may resolve to nothing.
            split: The split of `examples` that is judged on.
            code: Digest of the code, so that cached metrics are not those of older code.

        Raises:
            ConfigError: See `components.evaluator.eval_config`.
        """
        super().__init__(
            spec=EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                eval_config=eval_config(evaluate),
                example_splits=json.dumps([split]),
                code=code,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
