"""Made-up rows of all model inputs.

Values are random, ids unevenly so: some are frequent, as popular ads are, and which ones does not depend on how large they are, as
of hashes.
"""

from collections.abc import Sequence

import numpy as np

from schemas.features import Feature
from schemas.records import LABEL

_SPREAD = 2_654_435_761
"""A prime that divides no number of buckets."""
ADS_PER_DISPLAY = 10
"""Most ads of a display; 2 at least."""

Columns = dict[str, np.ndarray]


def random_columns(features: Sequence[Feature], rows: int, seed: int = 0) -> Columns:
    """Returns model inputs and the label by name: int32 (n,) or (n, hotness), one in 20 missing (-1); float32 (n,) in [0, 1)."""
    rng = np.random.default_rng(seed)
    columns: Columns = {}
    for feature in features:
        shape = (rows, feature.hotness) if feature.kind == "ids" else (rows,)
        values = rng.random(shape, np.float32)
        if feature.kind != "numeric":
            popularity = (values**4 * feature.buckets).astype(np.int64)
            ids = popularity * _SPREAD % feature.buckets
            values = np.where(rng.random(shape, np.float32) < 0.05, -1, ids).astype(np.int32)
        columns[feature.name] = values
    columns[LABEL] = (rng.random(rows, np.float32) < 0.2).astype(np.int32)
    return columns


def random_sizes(rows: int, seed: int = 0) -> np.ndarray:
    """Returns the rows of displays that together have `rows` rows, int64 (d,)."""
    ends = np.cumsum(np.random.default_rng(seed).integers(2, ADS_PER_DISPLAY, rows, endpoint=True))
    return np.diff(np.concatenate([[0], ends[ends < rows], [rows]]))
