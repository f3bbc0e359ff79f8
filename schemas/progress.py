"""Progress of long stages: who works calls `report`, who shows it (the command line) calls `set_sink`."""

from collections.abc import Callable

Sink = Callable[[str, int, int], None]


def _ignore(stage: str, done: int, total: int) -> None:
    """The sink until there is another one."""


_sink: Sink = _ignore
_done: dict[str, int] = {}


def set_sink(sink: Sink | None) -> None:
    """Sends all further reports of this process to `sink`; None sends them nowhere."""
    global _sink
    _sink = sink or _ignore
    _done.clear()


def report(stage: str, done: int, total: int) -> None:
    """Reports that `done` of `total` units of `stage` are done, e.g. `report("train", 3, 20)` after the third epoch."""
    _sink(stage, done, total)


def advance(stage: str, step: int, total: int) -> None:
    """Reports that `step` more of about `total` units of `stage` are done; for work whose parts do not know of each other.

    Parts done in other processes are not seen.
    """
    _done[stage] = min(_done.get(stage, 0) + step, total)
    _sink(stage, _done[stage], total)
