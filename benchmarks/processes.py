"""Contenders in processes of their own. This module imports nothing large: see `benchmarks.features`."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from schemas.errors import ClickrankError

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}


class BenchmarkError(ClickrankError):
    """A contender failed, or contenders disagree."""


def run(module: str, *arguments: str) -> tuple[float, float, float]:
    """Runs a module in a process of its own; returns CPU seconds, wall seconds and peak memory in 10^6 bytes."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=output, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").strip()[-2000:]
            raise BenchmarkError(f"{module} {' '.join(arguments)} ended with {process.returncode}: {last}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - start, usage.ru_maxrss * 1024 / 1e6


class Contender:
    """A process that prints a JSON object in a line for every line it is sent, maybe one before; to be used in a `with` statement.

    Args:
        command: What is run.
        environment: Variables on top of this process's.

    Raises:
        BenchmarkError: It ended, or said something else; the message has the end of what it wrote.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None):
        self._command = command
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by __exit__)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | _QUIET | (environment or {}),
            text=True,
        )

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):  # closing flushes
                    stream.close()
        self._errors.close()

    def ask(self, line: str) -> dict[str, Any]:
        """Sends a line and returns the answer."""
        with contextlib.suppress(BrokenPipeError):  # if it has ended, there is no answer
            print(line, file=self._process.stdin, flush=True)
        return self.listen()

    def listen(self) -> dict[str, Any]:
        """Returns the next answer."""
        assert self._process.stdout is not None
        try:
            return json.loads(self._process.stdout.readline())
        except ValueError as error:
            self._process.kill()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip()[-2000:]
            raise BenchmarkError(f"{' '.join(self._command)} ended: {last}") from error
