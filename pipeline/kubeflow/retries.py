"""Tries again what failed for the moment, a bounded number of times, later and later, and not at the same moment as others do."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.kubeflow.errors import CallError

T = TypeVar("T")

_LONGEST_S = 30.0
_LONGEST_ASKED_S = 120.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after how long.

    Attributes:
        limit: Tries after the first.
        backoff_s: Seconds before the second try; doubled each time, up to 30.
        sleep: Waits.
        share: Draws from [0, 1).
        say: Is told what is waited for, and of what else is not as it should be.
    """

    limit: int
    backoff_s: float
    sleep: Callable[[float], None] = time.sleep
    share: Callable[[], float] = random.random
    say: Callable[[str], None] = lambda text: None

    def pause(self, retry: int, asked: float | None) -> float:
        """Seconds before a retry (from 0): between half of the back-off and all of it, so that clients that failed together do not
        come back together. What the server asks for is the least, up to two minutes."""
        backoff = min(_LONGEST_S, self.backoff_s * 2.0**retry) * (0.5 + 0.5 * self.share())
        return max(backoff, min(asked or 0.0, _LONGEST_ASKED_S))

    def persist(self, operation: Callable[[], T]) -> T:
        """Calls `operation` until it goes through.

        An operation that makes something must look first whether it is there: a call that failed may have done its work.

        Raises:
            ClickrankError: It failed for good, or too often.
        """
        retry = 0
        while True:
            try:
                return operation()
            except CallError as problem:
                if not problem.again:
                    raise problem.error from problem
                if retry == self.limit:
                    tries = f"; {retry + 1} tries" if retry else ""
                    raise type(problem.error)(f"{problem.error}{tries}") from problem
                pause = self.pause(retry, problem.wait)
                self.say(f"{problem.error}; trying again in {pause:.0f} s")
                self.sleep(pause)
                retry += 1
