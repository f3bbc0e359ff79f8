"""Resampling of displays: how far a mean over them may be from the truth, and whether chance explains a loss.

Pure numpy. What is resampled is one number a display, such as the difference of two models' AP@12, and AP@12 of one click among
n <= 12 ads is 1 / rank: whatever the number of displays, the numbers take few distinct values v_1 ... v_K. To draw n displays with
replacement is then to draw how often each value comes, which is multinomial with the shares that the values have, and the mean is
that draw times v. So a resample costs K numbers and not n, and nothing is approximated.

* Efron and Tibshirani, An Introduction to the Bootstrap (1993): percentile bounds in chapter 13, the test by resamples that are
  shifted to the hypothesis in section 16.4. Sakai, Evaluating Evaluation Metrics Based on the Bootstrap (SIGIR 2006), has both for
  paired differences of a ranking metric.
* Davison and Hinkley, Bootstrap Methods and Their Application (1997), section 4.2: (1 + number) / (1 + resamples) as p-value.
* Benjamini and Hochberg, Controlling the False Discovery Rate, J. R. Statist. Soc. B 57 (1995).
* Lachin, Introduction to Sample Size Determination and Power Analysis for Clinical Trials, Controlled Clinical Trials 2 (1981).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 22
"""Numbers drawn at a time: 32 MiB."""

_DECIMALS = 12
"""Values are distinct if they differ in these: one AP@12 may come out of sums in another order."""

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Resampled:
    """The mean of some displays and the means of their resamples.

    Attributes:
        mean: Mean over the displays.
        error: Standard error of the mean, (1/n sum (x - mean)^2)^(1/2) / n^(1/2): what the standard deviation of `means` comes to
            with ever more resamples.
        displays: Number of displays, n.
        means: (resamples,) float64, ascending.
    """

    mean: float
    error: float
    displays: int
    means: npt.NDArray[np.float64]

    def lower(self, confidence: float) -> float:
        """The percentile bound that the true mean is above with this confidence."""
        return float(np.quantile(self.means, 1.0 - confidence))

    def upper(self, confidence: float) -> float:
        """The percentile bound that the true mean is below with this confidence."""
        return float(np.quantile(self.means, confidence))

    def p_value_below(self, bound: float) -> float:
        """How likely a mean as low as this one is, or lower, if the true one is `bound`: one-sided, small for a loss that is real.

        The resamples are shifted so that their mean is `bound`. Where none of them comes so low, the number of resamples would be
        the limit of what can be shown; the p-value is then the normal distribution's if that is smaller.
        """
        shift = self.mean - bound
        below = int(np.searchsorted(self.means, self.mean + shift + _ROUNDING, side="right"))
        p = (1 + below) / (1 + len(self.means))
        if below or not self.error:
            return p
        return min(p, NormalDist().cdf(shift / self.error))


def resample_mean(values: npt.ArrayLike, resamples: int, seed: int | Sequence[int]) -> Resampled:
    """Draws as many displays as there are with replacement, again and again, and takes the mean of each draw.

    Args:
        values: Shape (displays,); one finite number a display.
        resamples: How many draws.
        seed: Makes them repeatable.

    Raises:
        ValueError: There is no display, or a value is not finite.
    """
    value = np.asarray(values, np.float64)
    if value.ndim != 1 or not len(value):
        raise ValueError(f"values must be one number for each of at least one display. Received: shape {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(
            f"values must be finite numbers. Received: {int((~np.isfinite(value)).sum())} of {len(value)} that are not"
        )
    distinct, counts = np.unique(np.round(value, _DECIMALS), return_counts=True)  # (K,)
    n = len(value)
    mean = float(counts @ distinct / n)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _CHUNK // len(distinct))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        # Deviations, for a mean that never changes must come out the same in every resample.
        means[start : start + size] = mean + generator.multinomial(n, counts / n, size) @ (distinct - mean) / n
    error = float(np.sqrt(counts @ (distinct - mean) ** 2) / n)
    return Resampled(mean, error, n, np.sort(means))


def detectable_difference(error: float, confidence: float, power: float) -> float:
    """The smallest true difference that a one-sided test at `confidence` finds with probability `power`.

    (z_confidence + z_power) * error, by the normal approximation (Lachin 1981, equation 1).

    Args:
        error: Standard error of the difference.
        confidence: 1 - the test's probability of a false alarm.
        power: Probability of finding a difference of that size.
    """
    normal = NormalDist()
    return (normal.inv_cdf(confidence) + normal.inv_cdf(power)) * error


def adjust_p_values(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Adjusts the p-values of several tests as Benjamini and Hochberg do.

    To call those tests significant whose adjusted p-value is at most q keeps the expected share of false ones among them at or
    below q, where the tests are independent or positively dependent.

    Args:
        p_values: Shape (tests,), in any order.

    Returns:
        Shape (tests,), in the same order: the smallest p_(j) * tests / j over the ranks j from the test's own rank on.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
