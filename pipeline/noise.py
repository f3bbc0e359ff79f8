"""Keeps the screen for what people want to read: everything libraries write to it goes to a log file."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_PASSWORD = re.compile(r'password: "(\\.|[^"\\])*"')

OUR_PACKAGES = ("pipeline", "components", "transforms", "schemas")


@contextmanager
def log_to(path: Path, verbose: bool) -> Iterator[TextIO]:
    """Sends file descriptors 1 and 2 of this process and its children to a file; yields what was standard error, for people.

    Descriptors, not `sys.stderr`: TensorFlow's C++ code writes to them before any log level is heeded.

    Args:
        path: The log file; appended to.
        verbose: If true, nothing is redirected and our own loggers say more.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        _hide_passwords()
        yield sys.stderr
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    screen = os.fdopen(os.dup(saved[1]), "w", buffering=1)
    handlers = _attach(screen)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield screen
    finally:
        _flush_or_drop()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for name, handler in handlers.items():
            logging.getLogger(name).removeHandler(handler)
        screen.close()
        for descriptor in (log, *saved):
            os.close(descriptor)


def _flush_or_drop() -> None:
    """Empties Python's buffers into the log, or into nothing where the log's disk is full: they must not end up on the screen."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, descriptor)
            os.close(null)
            stream.flush()


def _attach(screen: TextIO) -> dict[str, logging.Handler]:
    """Shows our own warnings on the screen, and puts everybody's messages from INFO on into the log."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _hide_passwords()
    handlers: dict[str, logging.Handler] = {}
    for name in OUR_PACKAGES:
        handler = logging.StreamHandler(screen)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("warning: %(message)s"))
        logging.getLogger(name).addHandler(handler)
        handlers[name] = handler
    return handlers


def _hide_passwords() -> None:
    """TFX's runners log how they reach the metadata store, as the text of a proto."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_without_password)  # the same filter is not added twice


def _without_password(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if _PASSWORD.search(message):
        record.msg, record.args = _PASSWORD.sub('password: "***"', message), ()
    return True
