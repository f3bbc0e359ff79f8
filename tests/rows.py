"""Made-up feature rows for tests of what comes after feature engineering."""

import numpy as np
import pyarrow as pa

from schemas import features
from transforms.examples import arrow_schema


def random_rows(displays: int, seed: int = 0, missing: float = 0.2) -> pa.Table:
    """Returns 2 to 8 rows a display with every column of the feature table, in `arrow_schema()`.

    The label depends on `pop_ad_id`, so that a model has something to learn; a share `missing` of each feature is null.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 9, displays)
    display = np.repeat(np.arange(1, displays + 1), sizes)
    rows = len(display)
    pop = rng.uniform(0.02, 0.5, rows).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    utility = 6.0 * pop + rng.gumbel(size=rows)
    label = (utility == np.repeat(np.maximum.reduceat(utility, starts), sizes)).astype(np.int64)
    data: dict[str, np.ndarray] = {
        "display_id": display,
        "uuid": np.array([f"{u:014x}" for u in rng.integers(0, displays, displays)])[display - 1],
        "timestamp": np.sort(rng.integers(0, 13 * 86_400_000, displays))[display - 1],
        "ads_per_display": np.repeat(sizes, sizes),
        "popularity": (pop + 0.05 * rng.standard_normal(rows)).astype(np.float32),
        "label": label,
    }
    nulls: dict[str, np.ndarray] = {}
    for feature in features.FEATURES:
        if feature.name == "pop_ad_id":
            value = pop
        elif feature.kind == "indicator":
            value = rng.integers(0, feature.buckets, rows)
        elif feature.dtype == "string":
            value = np.array(["US", "US>CA", "US>CA>803", "GB>A8", "SG>00", "--"])[rng.integers(0, 6, rows)]
        elif feature.dtype == "float32":
            value = rng.uniform(0, 1, rows).astype(np.float32)
        else:
            value = rng.integers(0, 500, rows)
        if feature.kind == "ids":
            value = _lists(value, rng.integers(1, feature.hotness + 1, rows), rng)
        if feature.level == "request":
            value = value[starts][display - 1]
        data[feature.name] = value
        if feature.name != "ad_id":
            nulls[feature.name] = rng.random(rows) < missing
            if feature.level == "request":
                nulls[feature.name] = nulls[feature.name][starts][display - 1]
    data["ad_id"] = np.arange(rows) % 997
    schema = arrow_schema()
    return pa.table([pa.array(data[f.name], f.type, mask=nulls.get(f.name)) for f in schema], schema=schema)


def _lists(pool: np.ndarray, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an array of lists of values of the pool."""
    lists = np.empty(len(lengths), object)
    lists[:] = [list(pool[rng.integers(0, len(pool), length)]) for length in lengths]
    return lists
