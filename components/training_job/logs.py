"""The chief's log, brought into that of this process."""

import logging
import re
import threading
from collections.abc import Callable, Iterator

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(\S*) ?(.*)", re.DOTALL)

logger = logging.getLogger(__name__)


class ChiefLog:
    """Follows the log of one pod after the other, each in a thread of its own.

    Args:
        read: Name of a pod -> the lines of its log from its beginning, each with its time in front; it may break off at any moment.
    """

    def __init__(self, read: Callable[[str], Iterator[str]]):
        self._read = read
        self._current: _Followed | None = None

    def follow(self, name: str, uid: str, *, ended: bool) -> None:
        """Goes on with the log of a pod; to be called again and again, with whether it has ended."""
        known = self._current is not None and self._current.uid == uid
        if self._current is None or not known:
            self._current = _Followed(self._read, name, uid)
        if ended:
            self._current.ended.set()
        if known or ended:
            self._current.is_there.set()

    def close(self, seconds: float = 10.0) -> None:
        """Waits a little until all that was logged is here."""
        if self._current:
            self._current.ended.set()
            self._current.is_there.set()
            self._current.thread.join(seconds)


class _Followed:
    def __init__(self, read: Callable[[str], Iterator[str]], name: str, uid: str):
        self.uid, self._read, self._name = uid, read, name
        self.ended, self.is_there = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._relay, daemon=True)
        self.thread.start()

    def _relay(self) -> None:
        last = ("", "")
        while True:
            was_ended = self.ended.is_set()
            for line in self._read(self._name):
                time, text = split_line(line)
                if time > last:  # after a break the log comes from its beginning again
                    last = time
                    logger.info("%s: %s", self._name, text)
            if was_ended:
                return
            # Not before it is known to be there still: the pod that comes in its place has the same name.
            self.is_there.clear()
            if not self.ended.is_set():
                self.is_there.wait()


def split_line(line: str) -> tuple[tuple[str, str], str]:
    """Returns the time of a line, such that later is larger, and its text.

    The fraction of a second comes with any number of digits.
    """
    found = _LINE.fullmatch(line)
    if not found:
        return ("", ""), line
    return (found[1], (found[2] or "").ljust(9, "0")), found[4]
