"""Asking long work to stop at the next good place: the command line calls `request_stop` when it is told to end (SIGTERM), and work
that can save its state says so with `can_stop` and asks `stop_requested` now and then.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_requested = threading.Event()
_listening = threading.Event()
_last_words = ["what was finished is kept, the same command goes on from there"]


def request_stop() -> bool:
    """Asks the work of this process to stop; returns whether any will."""
    _requested.set()
    return _listening.is_set()


def stop_requested() -> bool:
    """Whether to save and stop now."""
    return _requested.is_set()


def say_when_stopped(text: str) -> None:
    """Sets what the user is told if this process is stopped from now on."""
    _last_words[0] = text


def last_words() -> str:
    """What the user is told when this process is stopped."""
    return _last_words[0]


@contextmanager
def can_stop() -> Iterator[None]:
    """While inside, the caller looks at `stop_requested` often enough, and raises `TransientError` once it has saved."""
    _listening.set()
    try:
        yield
    finally:
        _listening.clear()
        _requested.clear()


def die_with_parent() -> None:
    """Ends this process when the one that started it is gone, even if that was killed: the other end of our stdin then closes."""

    def wait() -> None:
        os.read(0, 1)  # unbuffered: a lock held by this thread would abort the interpreter's shutdown
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
