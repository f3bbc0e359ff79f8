"""The chief's log, brought into that of this process."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(\S*) ?(.*)", re.DOTALL)
_PAUSE_S = 1.0

logger = logging.getLogger(__name__)


class ChiefLog:
    """Follows the log of one pod after the other, each in a thread of its own.

    Args:
        read: Name of a pod -> the lines of its log from its beginning, each with its time in front; it may break off at any moment.
    """

    def __init__(self, read: Callable[[str], Iterator[str]]):
        self._read = read
        self._threads: dict[str, threading.Thread] = {}
        self._ended: dict[str, threading.Event] = {}

    def follow(self, name: str, uid: str, *, ended: bool) -> None:
        """Begins with a pod that is new, and ends with one that has ended, when all of its log is here."""
        if uid not in self._threads:
            self._ended[uid] = threading.Event()
            self._threads[uid] = threading.Thread(target=self._relay, args=(name, self._ended[uid]), daemon=True)
            self._threads[uid].start()
        if ended:
            self._ended[uid].set()

    def close(self, seconds: float = 10.0) -> None:
        """Waits a little until all that was logged is here."""
        deadline = time.monotonic() + seconds
        for uid, thread in self._threads.items():
            self._ended[uid].set()
            thread.join(max(0.0, deadline - time.monotonic()))

    def _relay(self, name: str, ended: threading.Event) -> None:
        last = ("", "")
        while True:
            was_ended = ended.is_set()
            for line in self._read(name):
                time_, text = split_line(line)
                if time_ > last:  # after a break the log comes from its beginning again
                    last = time_
                    logger.info("%s: %s", name, text)
            if was_ended:
                return
            ended.wait(_PAUSE_S)


def split_line(line: str) -> tuple[tuple[str, str], str]:
    """Returns the time of a line, such that later is larger, and its text. The fraction of a second comes with any number of digits."""
    found = _LINE.fullmatch(line)
    if not found:
        return ("", ""), line
    return (found[1], (found[2] or "").ljust(9, "0")), found[4]
