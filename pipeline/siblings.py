"""Makes a file or a folder complete or not at all: work is done under a hidden name beside it, and one rename ends it."""

import contextlib
import fcntl
import glob
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import ClickrankError, ConfigError, recover


@contextlib.contextmanager
def temporary_sibling(out: Path, kind: str) -> Iterator[Path]:
    """A locked folder beside `out`, removed at the end unless renamed; sweeps those whose run is dead, which hold no lock.

    Args:
        out: What will be made; its parent exists.
        kind: What makes it, part of the folder's name: only leftovers of the same kind are swept.
    """
    prefix = f".{out.name}.{kind}-"
    for left in out.parent.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # A file system without locks never sweeps, as `_locked` fails above too.
        with contextlib.suppress(OSError):
            stack.enter_context(_locked(folder))
        # mkdtemp makes it private.
        folder.chmod(0o755)
        yield folder


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is there completely or not at all.

    Raises:
        OSError: It cannot be written.
    """
    aside = path.with_name(f".{path.name}")
    aside.write_text(text, "utf-8")
    os.replace(aside, path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_errors(out: Path) -> Iterator[None]:
    """Makes errors of the file system one line: the result and all that is in between are written beside `out`."""
    try:
        yield
    except OSError as error:
        raise recover(error, str(out.parent)) or ConfigError(f"{out}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def kept_log(log: Path, out: Path, verbose: bool) -> Iterator[None]:
    """Makes an error that was not foreseen one line, and keeps the log where that line says: in `<out>.log.txt`.

    Args:
        log: What `pipeline.noise.log_to` writes to.
        out: What was to be made.
        verbose: Whether the log went to the screen, so that there is none to keep.
    """
    try:
        yield
    except Exception as error:
        known = recover(error, str(out.parent))
        if known is not None:
            raise known from error
        if isinstance(error, OSError) or _is_interrupt(error):
            raise
        logging.error("%s could not be made", out, exc_info=error)
        where = ""
        if not verbose:
            kept = out.with_name(f"{out.name}.log.txt")
            shutil.copyfile(log, kept)
            where = f"; see {kept}"
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise ClickrankError(f"{type(error).__name__}: {first}{where}") from error


def _is_interrupt(error: BaseException) -> bool:
    """Whether the program was told to stop: Beam makes an ordinary exception of that."""
    current: BaseException | None = error
    while current is not None and isinstance(current, Exception):
        current = current.__cause__ or current.__context__
    return current is not None
