"""Optimizers by name."""

from components.trainer.row_optimizers import Adagrad, Adam, Ftrl, Momentum, RmsProp, RowOptimizer, Sgd
from components.trainer.schedules import make_schedule
from schemas.config import OptimizerConfig

_OPTIMIZERS = {"ftrl": Ftrl, "adagrad": Adagrad, "adam": Adam, "rmsprop": RmsProp, "sgd": Sgd, "momentum": Momentum}


def make_optimizer(
    config: OptimizerConfig, steps_per_epoch: int = 1, total_steps: int = 1, updates_per_step: int = 1
) -> RowOptimizer:
    """Returns a new optimizer; to be called within the strategy's scope.

    Args:
        config: Keys that are None take the optimizer's own default.
        steps_per_epoch: What an epoch in `config.schedule` comes to.
        total_steps: Of the whole training.
        updates_per_step: How often the optimizer is applied in a step.
    """
    own = config.model_dump(exclude={"name", "learning_rate", "schedule"}, exclude_none=True)
    return _OPTIMIZERS[config.name](make_schedule(config, steps_per_epoch, total_steps, updates_per_step), **own)
