"""Checkpoints of a training: model, optimizers, and where in the input it is; the newest that can be read is where it goes on.

A folder holds `step-N.*`, everything after N steps, and `best-N.*`, the weights after N steps that were the best so far. TensorFlow
writes a checkpoint's `.index` last, by a rename: a save that was cut short leaves nothing that looks like a checkpoint.
"""

import logging
import posixpath
import re
import time
from collections.abc import Callable

import tensorflow as tf

from schemas.errors import ClickrankError

logger = logging.getLogger(__name__)

_INDEX = re.compile(r"(step|best)-(\d+)\.index$")


class Checkpoints:
    """Saves and restores under one folder.

    Args:
        folder: Shared by all workers.
        full: What a training needs to go on.
        weights: The model alone.
        keep: How many full checkpoints to keep.
        save_steps: Steps between full checkpoints; None is no rule.
        save_secs: Seconds between full checkpoints; None is no rule.
        clock: Seconds, for the latter.
    """

    def __init__(
        self,
        folder: str,
        full: tf.train.Checkpoint,
        weights: tf.train.Checkpoint,
        *,
        keep: int,
        save_steps: int | None = None,
        save_secs: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._folder, self._full, self._weights, self._keep = folder, full, weights, keep
        self._save_steps, self._save_secs, self._clock = save_steps, save_secs, clock
        self._last_save = clock()

    def is_due(self, step: int) -> bool:
        """Whether it is time for a full checkpoint."""
        by_steps = self._save_steps is not None and step % self._save_steps == 0
        return by_steps or (self._save_secs is not None and self._clock() - self._last_save >= self._save_secs)

    def save(self, step: int) -> None:
        """Writes a full checkpoint, and deletes what is no longer needed."""
        self._full.write(self._path("step", step))
        self._last_save = self._clock()
        steps = self._found("step")
        for old in steps[: -self._keep]:
            self._delete("step", old)
        kept = steps[-self._keep :]
        best = self._found("best")
        needed = {max((b for b in best if b <= s), default=-1) for s in kept}
        for old in best:
            if old not in needed and old < kept[-1]:
                self._delete("best", old)

    def save_best(self, step: int) -> None:
        """Writes the weights alone, as the best so far."""
        self._weights.write(self._path("best", step))

    def path(self, step: int) -> str:
        """Where `save(step)` wrote."""
        return self._path("step", step)

    def best_path(self, step: int) -> str:
        """Where `save_best(step)` wrote."""
        return self._path("best", step)

    def restore(self) -> int | None:
        """Restores the newest full checkpoint that is whole; returns its step, None if there is none at all.

        Raises:
            ClickrankError: There are checkpoints, but none can be read.
        """
        steps = self._found("step")
        for step in reversed(steps):
            path = self._path("step", step)
            try:
                self._full.read(path).assert_existing_objects_matched()
            except Exception as error:  # TensorFlow has a dozen ways to say that a file is damaged
                logger.warning("%s: cannot be read (%s); trying the one before", path, type(error).__name__)
            else:
                return step
        if steps:
            raise ClickrankError(f"{self._folder}: none of {len(steps)} checkpoints can be read; --no-resume starts over")
        return None

    def _path(self, kind: str, step: int) -> str:
        return posixpath.join(self._folder, f"{kind}-{step}")

    def _found(self, kind: str) -> list[int]:
        if not tf.io.gfile.isdir(self._folder):
            return []
        matches = (_INDEX.match(name) for name in tf.io.gfile.listdir(self._folder))
        return sorted(int(match[2]) for match in matches if match and match[1] == kind)

    def _delete(self, kind: str, step: int) -> None:
        # The index first: without it, the rest is no checkpoint.
        for path in [f"{self._path(kind, step)}.index", *tf.io.gfile.glob(f"{self._path(kind, step)}.data-*")]:
            tf.io.gfile.remove(path)
