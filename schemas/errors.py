"""The exceptions that a user may see, each with the exit code of the command line.

Messages are one line: Beam passes a worker's exception on as text, and `recover` reads the line back.
"""

import re


class ClickrankError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = 1


class ConfigError(ClickrankError):
    """The command line or the configuration cannot work as given."""

    exit_code = 2


class InputDataError(ClickrankError):
    """The input data cannot be used; names the file and, where there is one, the line."""

    exit_code = 3


class RemoteError(ClickrankError):
    """A remote service failed."""

    exit_code = 5


class TransientError(ClickrankError):
    """A fault of the moment (full disk, preemption); the same command may succeed when run again."""

    exit_code = 75


NOT_PUSHED_EXIT_CODE = 4
"""A run that went through, but whose model was not blessed, failed the infra check, or had been rolled back."""

_BY_NAME = {c.__name__: c for c in (ConfigError, InputDataError, RemoteError, TransientError)}
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|database or disk is full")
_FULL_PATH = re.compile(r"(?:^|[ '\"])(/[^\n;'\"]*); No space left on device|No space left on device: '([^'\n]+)'")
_IN_TRACEBACK = re.compile(r"schemas\.errors\.(\w+): (.*?)(?: \[while running|\\n|\n|$)")


def recover(error: BaseException, where: str = "the disk") -> ClickrankError | None:
    """Finds the `ClickrankError` behind `error`, also where a Beam runner turned it into text.

    Looks along `__cause__` and `__context__` first, then for a worker's traceback in the messages, then for a full disk, which
    every library reports in its own way.

    Args:
        error: What was caught.
        where: What to name if the disk is full and no message has a path.

    Returns:
        None if `error` is none of ours.
    """
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        if isinstance(current, ClickrankError):
            return type(current)(str(current).partition(" [while running ")[0])
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in chain:
        for name, message in _IN_TRACEBACK.findall(str(link)):
            if name in _BY_NAME:
                return _BY_NAME[name](message)
    full = [link for link in chain if _DISK_FULL.search(str(link))]
    if not full:
        return None
    path = next(filter(None, map(_full_path, full)), where)
    return TransientError(f"{path}: no space left on the disk; free some and run again")


def _full_path(error: BaseException) -> str | None:
    """The file that a message about a full disk names, if it does. A failed copy names its source first: that one is not full."""
    if isinstance(error, OSError) and (error.filename2 or error.filename):
        return str(error.filename2 or error.filename)
    found = _FULL_PATH.search(str(error))
    return (found[1] or found[2]) if found else None
