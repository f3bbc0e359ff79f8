"""Which displays train and which evaluate."""

import numpy as np

from schemas.config import SplitConfig
from schemas.tables import DAY_MS
from transforms.partition import fraction

NEITHER, TRAIN, EVAL, TEST = -1, 0, 1, 2
SPLIT_NAMES = {TRAIN: "train", EVAL: "eval", TEST: "test"}


def assign_split(display_id: np.ndarray, timestamp: np.ndarray, split: SplitConfig) -> np.ndarray:
    """Assigns every display to one split: by day first, then by a stable hash of its id.

    A day after the last of `eval_days` belongs to neither split: a model must not be judged on days before its training data ends.

    Args:
        display_id: (n,) int64.
        timestamp: (n,) int64, ms since the start of the log.

    Returns:
        (n,) int64: TRAIN, EVAL or NEITHER.
    """
    day = timestamp // DAY_MS
    codes = np.where(fraction(display_id) < split.eval_fraction, EVAL, TRAIN)
    if split.eval_days:
        codes = np.where(np.isin(day, split.eval_days), EVAL, np.where(day > max(split.eval_days), NEITHER, codes))
    return codes
