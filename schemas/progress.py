"""Progress of long stages: who works calls `report`, who shows it (the command line) calls `set_sink`."""

from collections.abc import Callable

Sink = Callable[[str, int, int], None]


def _ignore(stage: str, done: int, total: int) -> None:
    """The sink until there is another one."""


_sink: Sink = _ignore


def set_sink(sink: Sink | None) -> None:
    """Sends all further reports of this process to `sink`; None sends them nowhere."""
    global _sink
    _sink = sink or _ignore


def report(stage: str, done: int, total: int) -> None:
    """Reports that `done` of `total` units of `stage` are done, e.g. `report("train", 3, 20)` after the third epoch."""
    _sink(stage, done, total)
