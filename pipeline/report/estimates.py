"""Values with their 95 % intervals."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.report.content import Estimate

_Z = 1.959963984540054


def mean_estimate(values: npt.NDArray[np.float64]) -> Estimate | None:
    """Returns the mean with its normal 95 % interval, mean +- 1.96 s / sqrt(n); no bounds for one value, None for none.

    Args:
        values: Shape (n,); NaN is left out.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    mean = float(values.mean())
    if len(values) == 1:
        return Estimate(mean)
    half = _Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def column_estimate(column: pa.ChunkedArray) -> Estimate | None:
    """Returns `mean_estimate` of a column; nulls are left out."""
    return mean_estimate(np.asarray(column.to_numpy(zero_copy_only=False), np.float64))


def share_estimate(share: float, n: float) -> Estimate:
    """Returns a share of n with Wilson's interval (E. B. Wilson, JASA 22, 1927)."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


def finite(value: float | None) -> float | None:
    """Returns a number, None if it is none."""
    return value if value is not None and math.isfinite(value) else None
