"""Sums -> metrics and plots as TFMA's writers take them. Every metric is defined here, as a ratio of sums."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from tensorflow_model_analysis.metrics import calibration_plot, metric_types
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from components.evaluator import names
from components.evaluator.judge import Plan
from components.evaluator.results import SliceKey
from components.evaluator.scores import BUCKETS, auc, edges
from components.evaluator.tally import CLICKED, ROWS, SCORE, Tally, column

MIN_ROWS_TO_PLOT = 1000
"""Slices of fewer rows have no calibration plot: there would be less than a row in each of its bins."""

Metrics = dict[metric_types.MetricKey, float]
Plots = dict[metric_types.PlotKey, metrics_for_slice_pb2.CalibrationHistogramBuckets]


def metrics(tally: Tally, plan: Plan) -> Iterator[tuple[SliceKey, Metrics]]:
    """Yields the metrics of each slice, for each model, and the models' differences to the baseline as TFMA has them.

    With label y in {0, 1} and score p of a row, and the measures of a display as in `components.evaluator.ranking`:

    * `map_at_12`, `mrr`, `ndcg_at_12`: the mean of AP@12, of the reciprocal rank of the first click, and of NDCG@12 over displays
      with a click; `map_at_12_random` and `map_at_12_popularity` of a random order and of the popularity ranking, which no model
      is part of. `map_at_12_displays` is the number of displays with a click, `map_at_12_displays_without_click` of the others;
      so it is for the other two MAPs.
    * `gauc`: the mean of the AUC within a display, weighted by its ads, over displays that have a click and an ad without.
    * `example_count`: the number of rows. `log_loss`: the mean of -(y log p + (1 - y) log(1 - p)), p clipped as
      `components.evaluator.scores.EPSILON` says. `calibration`: sum of p / sum of y; 1 is calibrated in the large.
    * `auc`: over all rows, p rounded down to a multiple of 1 / `components.evaluator.scores.BINS`; a tie counts half.
    * for the whole alone, `map_at_12_of_feature/NAME`: MAP@12 of a feature as the only score, falling or rising, whichever is
      higher on these very displays. The choice favours it, so as a baseline it is a little too strong.

    NaN is what is not defined: a mean over no display, and log loss, calibration and AUC where a score is NaN.
    """
    for place, key in enumerate(tally.keys):
        found: Metrics = {}
        for model, name in enumerate(plan.models):
            values = _of_model(tally, place, model)
            if place == 0:
                best = tally.features.max(axis=1) if len(tally.features) else ()
                clicked = tally.sums[0, column("clicked")]
                values |= {names.of_feature_key(f): _ratio(ap, clicked) for f, ap in zip(plan.features, best, strict=True)}
            found |= {metric_types.MetricKey(metric, model_name=name): value for metric, value in values.items()}
        if plan.baseline is not None:
            found |= {
                own.make_diff_key(): value - found[own.make_baseline_key(plan.baseline)]
                for own, value in found.items()
                if own.model_name != plan.baseline
            }
        yield key, found


def plots(tally: Tally, plan: Plan) -> Iterator[tuple[SliceKey, Plots]]:
    """Yields TFMA's calibration plot of the whole and of each slice of at least `MIN_ROWS_TO_PLOT` rows."""
    for place, key in enumerate(tally.keys):
        if place and tally.sums[place, column("ads")] < MIN_ROWS_TO_PLOT:
            continue
        found = {_plot_key(name): _to_proto(_dense(tally, place, model)) for model, name in enumerate(plan.models)}
        yield key, found


def _plot_key(model: str) -> metric_types.PlotKey:
    return metric_types.PlotKey(calibration_plot.CALIBRATION_PLOT_NAME, model_name=model)


def _of_model(tally: Tally, place: int, model: int) -> dict[str, float]:
    def total(name: str) -> float:
        return float(tally.sums[place, column(name, model)])

    clicked, rows = total("clicked"), total("ads")
    without = total("displays") - clicked
    values: dict[str, float] = {}
    for name, ap in (
        (names.MAP_AT_12, "ap"),
        (names.MAP_AT_12_RANDOM, "ap_random"),
        (names.MAP_AT_12_POPULARITY, "ap_popularity"),
    ):
        values |= {
            name: _ratio(total(ap), clicked),
            names.displays_key(name): clicked,
            names.displays_without_click_key(name): without,
        }
    counts = _dense(tally, place, model)
    score = total("score")
    return values | {
        names.MRR: _ratio(total("reciprocal_rank"), clicked),
        names.NDCG_AT_12: _ratio(total("ndcg"), clicked),
        names.GAUC: _ratio(total("auc"), total("auc_ads")),
        names.EXAMPLE_COUNT: rows,
        names.LOG_LOSS: _ratio(total("log_loss"), rows),
        names.CALIBRATION: _ratio(score, total("clicks")),
        names.AUC: float("nan") if np.isnan(score) else auc(counts[:, ROWS] - counts[:, CLICKED], counts[:, CLICKED]),
    }


def _dense(tally: Tally, place: int, model: int) -> npt.NDArray[np.float64]:
    """(BUCKETS, 3): one slice's histogram."""
    histogram = tally.histograms[model]
    first, last = np.searchsorted(histogram.cells, [place * BUCKETS, (place + 1) * BUCKETS])
    counts = np.zeros((BUCKETS, 3))
    counts[histogram.cells[first:last] - place * BUCKETS] = histogram.values[first:last]
    return counts


def _to_proto(counts: npt.NDArray[np.float64]) -> metrics_for_slice_pb2.CalibrationHistogramBuckets:
    ends = edges().tolist()
    result = metrics_for_slice_pb2.CalibrationHistogramBuckets()
    for lower, upper, values in zip(ends, ends[1:], counts.tolist(), strict=False):
        result.buckets.add(
            lower_threshold_inclusive=lower,
            upper_threshold_exclusive=upper,
            num_weighted_examples={"value": values[ROWS]},
            total_weighted_label={"value": values[CLICKED]},
            total_weighted_refined_prediction={"value": values[SCORE]},
        )
    return result


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")
