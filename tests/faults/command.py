"""Runs the command line as a user does, and checks what a user must be able to rely on when it fails."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TINY = [
    *("--set", "encoding.max_buckets=100", "--set", "model.hidden_units=[4]", "--set", "model.max_embedding_dim=2"),
    *("--set", "trainer.num_epochs=1", "--set", "trainer.global_batch_size=256", "--set", "evaluate.slices=[]"),
    *("--set", "gate.min_gain_over_popularity=-1", "--set", "gate.min_calibration=0", "--set", "gate.max_calibration=null"),
]


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "pipeline.cli", *map(str, args)]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT), **extra}


def clickrank(*args: object, cwd: Path = PROJECT, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, check=False, cwd=cwd, env=env or environment())


def check_failed(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> str:
    """Asserts the exit code and that the screen ends with one "error: " line that has all `parts`; returns that line."""
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == errors[0]
    for part in parts:
        assert part in errors[0]
    assert "Traceback" not in done.stderr + done.stdout
    return errors[0]


def check_good(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mounts a small file system at a new folder; skips the test where that is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
