"""How far scores are click probabilities, from TFMA's calibration histogram."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.evaluator.names import CANDIDATE
from pipeline.report import content
from pipeline.report.estimates import share_estimate

_BUCKETS = 10


def buckets(histogram: Sequence[tuple[float, float, float]], count: int = _BUCKETS) -> tuple[content.Bucket, ...]:
    """Merges the buckets of a calibration histogram into about `count` of like many rows.

    Args:
        histogram: Rows, sum of labels and sum of scores of each bucket, by ascending score.
        count: How many to make, at most.

    Returns:
        Mean score and share of clicks with its interval, by ascending score.
    """
    filled = np.array([entry for entry in histogram if entry[0] > 0], np.float64).reshape(-1, 3)  # (n, 3)
    if not len(filled):
        return ()
    before = np.cumsum(filled[:, 0]) - filled[:, 0]
    place = np.minimum((before + filled[:, 0] / 2) / filled[:, 0].sum() * count, count - 1).astype(int)
    merged = [filled[place == i].sum(axis=0) for i in np.unique(place)]
    return tuple(
        content.Bucket(n, score / n, share_estimate(clicks / n, n)) for n, clicks, score in (map(float, m) for m in merged)
    )


def read_histogram(folder: Path) -> list[tuple[float, float, float]]:
    """Reads TFMA's overall calibration histogram of the candidate: rows, sum of labels, sum of scores of each bucket.

    Returns:
        Empty if there is none.
    """
    from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writer

    for record in writer.load_and_deserialize_plots(str(folder)):
        if record.slice_key.single_slice_keys:
            continue
        for entry in record.plot_keys_and_values:
            found = entry.value.calibration_histogram_buckets.buckets
            if found and entry.key.model_name in ("", CANDIDATE):
                return [
                    (b.num_weighted_examples.value, b.total_weighted_label.value, b.total_weighted_refined_prediction.value)
                    for b in sorted(found, key=lambda bucket: bucket.lower_threshold_inclusive)
                ]
    return []
