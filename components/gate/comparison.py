"""A model against the latest blessed one on the same displays: overall and by slice."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.evaluator.displays import SLICE_PREFIX
from components.gate.bootstrap import adjust_p_values, detectable_difference, resample_mean
from schemas.config import GateConfig


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over displays with its bounds.

    Attributes:
        value: The mean.
        lower, upper: The truth is above `lower` with `confidence`, and below `upper` with `confidence`; so it is between them with
            2 confidence - 1.
        confidence: Of either bound.
        displays: Displays in the mean.
    """

    value: float
    lower: float
    upper: float
    confidence: float
    displays: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a model compares with the latest blessed one, display by display.

    Attributes:
        difference: Mean of AP@12 of the model minus AP@12 of the blessed one: above 0, the model is better.
        lower, upper: The true difference is above `lower` with `confidence`, and below `upper` with `confidence`.
        confidence: Of either bound.
        p_value: How likely such a difference, or a lower one, if the models are equally good.
        chance_loss: 2 (difference - lower): the true loss that is found out with a probability of `confidence` by a test that
            refuses an equally good model with a probability of 1 - `confidence`.
        margin: The loss that is allowed: `-margin` is what `lower` must at least be.
        detectable_difference: The smallest true difference that such a test finds with probability `power`.
        power: See `detectable_difference`.
        displays: Displays with a click.
        resamples: Resamples that the bounds and the p-value are from.
        seed: Of the resamples.
    """

    difference: float
    lower: float
    upper: float
    confidence: float
    p_value: float
    chance_loss: float
    margin: float
    detectable_difference: float
    power: float
    displays: int
    resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """How a model compares with the latest blessed one on the displays of one slice.

    Attributes:
        slice: Columns and values, such as `event_platform=2`, or `event_platform=2, event_country=US` for crossed columns.
        displays: Displays of the slice with a click.
        difference, lower, upper: As in `Comparison`, over these displays.
        p_value: How likely such a difference, or a lower one, if the model is `gate.max_loss_to_blessed` worse.
        adjusted_p_value: The same after Benjamini and Hochberg, over all slices that were tested.
        significant: Whether the model counts as worse here: `adjusted_p_value` is at most `gate.slice_fdr`.
    """

    slice: str
    displays: int
    difference: float
    lower: float
    upper: float
    p_value: float
    adjusted_p_value: float
    significant: bool


def estimate(average_precision: npt.ArrayLike, gate: GateConfig) -> Interval:
    """MAP@12 with its bounds.

    Args:
        average_precision: Shape (displays,), at least one; AP@12 of each display with a click.
        gate: Confidence, resamples and seed.
    """
    found = resample_mean(average_precision, gate.resamples, gate.seed)
    return Interval(found.mean, found.lower(gate.confidence), found.upper(gate.confidence), gate.confidence, found.displays)


def compare(difference: npt.ArrayLike, gate: GateConfig) -> Comparison:
    """Compares two models by their AP@12 on the same displays.

    The margin is `gate.max_loss_to_blessed`, or the loss that chance explains if that is more, up to `gate.max_chance_loss`.
    Without the latter, a model that is just as good would be refused with a probability of `gate.confidence`, because its lower
    bound is mostly below 0; with it, it is blessed with that probability.

    Args:
        difference: Shape (displays,), at least one; AP@12 of the model minus that of the blessed one.
        gate: Bounds, confidence, resamples and seed.
    """
    found = resample_mean(difference, gate.resamples, gate.seed)
    lower = found.lower(gate.confidence)
    chance_loss = max(0.0, 2.0 * (found.mean - lower))
    return Comparison(
        difference=found.mean,
        lower=lower,
        upper=found.upper(gate.confidence),
        confidence=gate.confidence,
        p_value=found.p_value_below(0.0),
        chance_loss=chance_loss,
        margin=max(gate.max_loss_to_blessed, min(chance_loss, gate.max_chance_loss)),
        detectable_difference=detectable_difference(found.error, gate.confidence, gate.power),
        power=gate.power,
        displays=found.displays,
        resamples=gate.resamples,
        seed=gate.seed,
    )


def compare_slices(
    displays: pa.Table, difference: npt.NDArray[np.float64], columns: Iterable[Sequence[str]], gate: GateConfig
) -> tuple[SliceComparison, ...]:
    """Compares two models on every slice that has at least `gate.min_slice_displays` displays.

    Args:
        displays: (n rows) with a column `slice.NAME` for each of `columns`.
        difference: Shape (n,); AP@12 of the model minus that of the blessed one.
        columns: By which to slice; several names are crossed.
        gate: Bounds, confidence, resamples and seed.

    Returns:
        The slices that were tested, the smallest p-value first. A display without a value of a column is in no slice of it.
    """
    found = []
    for names in columns:
        for name, rows in _slices(displays, names):
            if len(rows) >= gate.min_slice_displays:
                # Seeded by its name: what other slices there are makes no difference.
                found.append((name, resample_mean(difference[rows], gate.resamples, (gate.seed, zlib.crc32(name.encode())))))
    p_values = [resampled.p_value_below(-gate.max_loss_to_blessed) for _, resampled in found]
    compared = [
        SliceComparison(
            slice=name,
            displays=resampled.displays,
            difference=resampled.mean,
            lower=resampled.lower(gate.confidence),
            upper=resampled.upper(gate.confidence),
            p_value=p,
            adjusted_p_value=float(adjusted),
            significant=bool(adjusted <= gate.slice_fdr),
        )
        for (name, resampled), p, adjusted in zip(found, p_values, adjust_p_values(p_values), strict=True)
    ]
    return tuple(sorted(compared, key=lambda one: (one.p_value, one.difference)))


def _slices(displays: pa.Table, names: Sequence[str]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Yields each slice by some columns as (name, its rows)."""
    code = np.zeros(displays.num_rows, np.int64)
    present = np.ones(displays.num_rows, bool)
    for name in names:
        values = displays[f"{SLICE_PREFIX}{name}"].combine_chunks().dictionary_encode()
        index = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        present &= index >= 0
        _, code = np.unique(code * (len(values.dictionary) + 1) + index, return_inverse=True)
    rows = np.flatnonzero(present)
    if not len(rows):
        return
    rows = rows[np.argsort(code[rows], kind="stable")]
    for part in np.split(rows, 1 + np.flatnonzero(np.diff(code[rows]))):
        values = (f"{name}={displays[f'{SLICE_PREFIX}{name}'][int(part[0])].as_py()}" for name in names)
        yield ", ".join(values), part
