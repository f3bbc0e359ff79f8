"""The one factory of models: a kind's name -> a `Scorer` whose variables exist."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from components.trainer.scorers.contract import Scorer, zero_inputs
from components.trainer.scorers.custom import Custom
from components.trainer.scorers.dnn import Dnn
from components.trainer.scorers.gam import Gam
from components.trainer.scorers.wide_deep import WideDeep
from schemas.config import ModelConfig
from schemas.errors import ConfigError
from schemas.features import Feature

_KINDS: dict[str, Callable[..., Scorer]] = {
    "wide_deep": WideDeep,
    "wide": WideDeep,
    "deep": WideDeep,
    "dnn": Dnn,
    "gam": Gam,
    "custom": Custom,
}


def build_model(
    features: Sequence[Feature],
    config: ModelConfig,
    seed: int = 0,
    *,
    compute_dtype: str = "float32",
    jit_compile: bool = False,
) -> Scorer:
    """Returns a model whose variables exist, with initial weights that `seed` determines.

    Args:
        features: `schemas.features.model_inputs(...)` of the Transform whose outputs the model will see.
        config: The `model` sub-tree.
        seed: Of the initial weights.
        compute_dtype: Type in which hidden layers compute: float32, bfloat16 or float16. Variables and logits are float32, and
            small float16 gradients need a loss that is scaled up.
        jit_compile: Whether graphs that call the model compile its hidden layers by XLA. Not for export.

    Raises:
        ConfigError: No model can be built of this.
    """
    if jit_compile and (config.batch_norm or config.input_batch_norm) and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ConfigError("batch norm over several workers cannot be compiled by XLA; switch one of them off")
    model = _KINDS[config.kind](features, config, seed, compute_dtype, jit_compile)
    model(zero_inputs(features))
    return model
