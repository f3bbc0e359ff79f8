"""Do two contenders say the same? python -m benchmarks.agreement OURS THEIRS.parquet; exits with 1 and the reason if not."""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.feature_rows import CORE_COLUMNS, read

RTOL, ATOL = 1e-5, 1e-6
"""Ours are float32."""


def disagreements(ours: Path, theirs: Path) -> list[str]:
    """Returns one line for each column of `CORE_COLUMNS` that differs between a folder of rows and a Parquet file."""
    mine = read(ours, CORE_COLUMNS)
    other = pq.read_table(theirs, columns=list(CORE_COLUMNS)).sort_by([("display_id", "ascending"), ("ad_id", "ascending")])
    if mine.num_rows != other.num_rows:
        return [f"{mine.num_rows} rows and {other.num_rows} rows"]
    found = []
    for name in CORE_COLUMNS:
        # A null becomes NaN, which equals only itself here.
        a, b = (table[name].to_pandas().to_numpy(np.float64) for table in (mine, other))
        differing = int((~np.isclose(a, b, rtol=RTOL, atol=ATOL, equal_nan=True)).sum())
        if differing:
            found.append(f"{name}: {differing} of {len(a)} rows differ")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(disagreements(Path(sys.argv[1]), Path(sys.argv[2]))) or 0)
