"""Made-up eval displays and what an evaluation of them says."""

import math

import numpy as np
import pyarrow as pa

from components.evaluator.displays import SLICE_PREFIX, displays_schema
from components.gate.evidence import Evidence

CLEAN_AUDIT = {
    "history": "past",
    "probes": [
        {"feature": "popularity", "gap": 0.004, "allowed": 0.015, "verdict": "pass"},
        {"feature": "user_views", "gap": None, "allowed": 0.015, "verdict": "n/a"},
    ],
}


def displays(ap, blessed=None, slices=None):
    """A table of eval displays; in `ap` and `blessed`, None and NaN are displays without a click."""
    ap = [None if value is None or math.isnan(value) else value for value in ap]
    columns = {
        "display_id": range(len(ap)),
        "ads": [4] * len(ap),
        "clicks": [int(value is not None) for value in ap],
        "map_at_12": ap,
        "map_at_12_random": [25 / 48 if value is not None else None for value in ap],
        "map_at_12_popularity": [0.5 if value is not None else None for value in ap],
    }
    if blessed is not None:
        columns["map_at_12_blessed"] = [None if value is None or math.isnan(value) else value for value in blessed]
    schema = displays_schema(tuple(slices or {}), blessed is not None)
    columns |= {f"{SLICE_PREFIX}{name}": [None if v is None else str(v) for v in values] for name, values in (slices or {}).items()}
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})


def metrics(table, column="map_at_12", **others):
    """Overall metrics as the Evaluator would give them for this table."""
    values = table[column].drop_null().to_numpy()
    mean = float(np.mean(values)) if len(values) else math.nan
    made = {"map_at_12": mean, "map_at_12_displays": float(len(values)), "map_at_12_popularity": 0.5}
    return {**made, "log_loss": 0.4, "calibration": 1.0, **others}


def evidence(ap, blessed=None, slices=None, crossed=(), *, own=None, of_blessed=None, **others):
    """Evidence that belongs together: the metrics are those of the displays, all else is in order.

    Args:
        ap, blessed, slices: See `displays`.
        crossed: Slices by several columns, beside those by one.
        own, of_blessed: Metrics that are otherwise.
        others: Fields of `Evidence`.
    """
    table = displays(ap, blessed, slices)
    return Evidence(
        **{
            "metrics": metrics(table, **(own or {})),
            "blessed_metrics": None if blessed is None else metrics(table, "map_at_12_blessed", **(of_blessed or {})),
            "displays": table,
            "slices": (*((name,) for name in slices or {}), *crossed),
            "audit": CLEAN_AUDIT,
            "replay_skew": 1e-7,
            **others,
        }
    )


def average_precisions(rng, displays, models, ads=6):
    """AP@12 of models that are as good as each other: one truth, seen through an error of each model's own.

    Returns:
        (models, displays) float64: 1 / rank of the clicked ad.
    """
    truth = rng.normal(size=(displays, ads))
    truth[:, 0] += 1.0  # the clicked one
    scores = truth + rng.normal(scale=0.7, size=(models, displays, ads))
    return 1.0 / (1 + (scores[:, :, 1:] > scores[:, :, :1]).sum(axis=2))
