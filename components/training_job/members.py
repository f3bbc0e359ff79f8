"""How the pods of a job find out that they belong together, by files in the folder that all of them see.

A pod that is lost comes back as another of the same name, and its peers may still be at work with the one that is gone:
TensorFlow's strategies then wait, or fail in many ways. So each pod says who it is and whom it sees (`NAME.member`), nobody begins
before all see the same, and a pod whose peers have changed ends, to come back and begin with them. Imports no TensorFlow.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from components.trainer.work_dir import TRAINED, read_error, read_json, write_whole
from schemas.errors import TransientError

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Member:
    """What a pod says of itself.

    Attributes:
        uid: Tells it from others that had, or will have, its name.
        sees: Name -> uid of those that it goes by.
        ready: Whether it is part of the cluster.
    """

    uid: str
    sees: dict[str, str] = field(default_factory=dict)
    ready: bool = False


def read_members(work_dir: Path, names: Sequence[str]) -> dict[str, Member]:
    """Returns what those pods said that have said anything."""
    found = {name: read_json(work_dir / f"{name}.member") for name in names}
    return {name: Member(**said) for name, said in found.items() if said}


class Meeting:
    """The part of one pod in this.

    Args:
        work_dir: The folder.
        names: All members, the chief's first.
        name: This one's.
        uid: This one's.
        has_chief: Whether the first only hands out work to the others (parameter servers). They then go by the chief alone, which
            waits until all go by it, and who of them is lost is its business. Else all go by all.
    """

    def __init__(self, work_dir: Path, names: Sequence[str], name: str, uid: str, *, has_chief: bool):
        self._work_dir, self._name, self._uid = work_dir, name, uid
        self._goes_by = tuple(names[:1]) if has_chief else tuple(names)
        self._waits_for = () if has_chief and name != names[0] else tuple(names[1:]) if has_chief else tuple(names)
        self._met: dict[str, str] = {}

    def meet(self, stop_requested: Callable[[], bool]) -> None:
        """Waits for the others.

        Raises:
            TransientError: It was asked to stop.
        """
        self._say({}, ready=False)
        while not self._all_agree():
            if stop_requested():
                raise TransientError("training was asked to stop before it began; run again")
            time.sleep(_POLL_S)

    def is_ready(self) -> None:
        """Tells the others, and who started the job."""
        self._say(self._met, ready=True)

    def trouble(self) -> str | None:
        """Says which of those that this pod goes by has failed, or has been replaced, since they met; None if none has."""
        now = read_members(self._work_dir, self._goes_by)
        for name, uid in self._met.items():
            if name == self._name:
                continue
            if name in now and now[name].uid != uid:
                return f"{name} is another pod now"
            if read_error(self._work_dir, name, uid):
                return f"{name} has failed"
        return None

    def is_over(self) -> bool:
        """Whether the chief has left what training came to."""
        return (self._work_dir / TRAINED).exists()

    def _all_agree(self) -> bool:
        now = read_members(self._work_dir, (*self._goes_by, *self._waits_for, self._name))
        here = {name: now[name].uid for name in self._goes_by if name in now}
        # Who has failed will come back as another.
        seen = {name: uid for name, uid in here.items() if not read_error(self._work_dir, name, uid)}
        if seen != self._met:
            self._met = seen
            self._say(seen, ready=False)
        if len(seen) < len(self._goes_by):
            return False
        return all(name in now and seen.items() <= now[name].sees.items() for name in self._waits_for if name != self._name)

    def _say(self, sees: dict[str, str], *, ready: bool) -> None:
        write_whole(self._work_dir / f"{self._name}.member", json.dumps(asdict(Member(self._uid, sees, ready))))
