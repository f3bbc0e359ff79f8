"""The section `training_job`, handed to the Trainer past TFX.

TFX puts all that a node is given (`custom_config`) into its cache key and the metadata store. More memory or another namespace
gives the same model, so these keys must not be there. Every runner of ours launches the Trainer in this process, as
`schemas.progress` and `schemas.interrupts` count on, too. An environment variable would do as well, but would be handed down to all
that the node starts, and would have to be parsed again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.training_job import TrainingJobConfig

_current = TrainingJobConfig()


def current() -> TrainingJobConfig:
    """Returns the section that is in force."""
    return _current


@contextmanager
def in_force(section: TrainingJobConfig) -> Iterator[None]:
    """While inside, a Trainer of this process goes by `section`."""
    global _current
    before, _current = _current, section
    try:
        yield
    finally:
        _current = before
