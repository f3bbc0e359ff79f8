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


NOT_BLESSED_EXIT_CODE = 4

_BY_NAME = {c.__name__: c for c in (ConfigError, InputDataError, RemoteError, TransientError)}
_IN_TRACEBACK = re.compile(r"schemas\.errors\.(\w+): (.*?)(?: \[while running|\\n|\n|$)")


def recover(error: BaseException) -> ClickrankError | None:
    """Finds the `ClickrankError` behind `error`, also where a Beam runner turned it into text.

    Looks along `__cause__` and `__context__` first, then for a worker's traceback in the messages.
    Returns None if `error` is none of ours.
    """
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        if isinstance(current, ClickrankError):
            return current
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in chain:
        for name, message in _IN_TRACEBACK.findall(str(link)):
            if name in _BY_NAME:
                return _BY_NAME[name](message)
        if isinstance(link, OSError) and link.errno in (28, 122):  # ENOSPC, EDQUOT
            return TransientError(f"{link.filename or 'disk'}: {link.strerror}; free some space and run again")
    return None
