"""Whether a configuration's model can be built and started, before anything is trained: `python -m components.trainer.check` reads
the configuration as JSON on standard input, and prints what is wrong.
"""

import sys

from schemas.config import LATEST_BLESSED, Config
from schemas.errors import ClickrankError


def needs_check(config: Config) -> bool:
    """Whether anything can be wrong that the configuration itself does not show."""
    return config.model.kind == "custom" or config.trainer.warm_start not in (None, LATEST_BLESSED)


def check_model(config: Config) -> None:
    """Builds the model, and plans its warm start from a path.

    Raises:
        ConfigError: The model cannot be built, or what it is to start from is not there or is another model's.
        InputDataError: What it is to start from is damaged.
    """
    from components.trainer.model import build_model
    from components.trainer.saved_variables import read_variables
    from components.trainer.warm_start import plan_for

    trainer = config.trainer
    model = build_model(config.encoding.inputs(config.model.max_embedding_dim), config.model)
    if trainer.warm_start and trainer.warm_start != LATEST_BLESSED:
        plan_for(model, read_variables(trainer.warm_start), trainer)


def main() -> int:
    """Returns the exit code."""
    try:
        check_model(Config.model_validate_json(sys.stdin.read()))
    except ClickrankError as error:
        sys.stdout.write(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
