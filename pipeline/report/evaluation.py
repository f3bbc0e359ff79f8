"""The eval split's figures over all displays: rankings and other metrics, from the Evaluator's artifact."""

import math

import pyarrow as pa

from components.evaluator.displays import AP, AP_BLESSED, AP_POPULARITY, AP_RANDOM
from components.evaluator.names import (
    AUC,
    CALIBRATION,
    GAUC,
    LOG_LOSS,
    MAP_AT_12,
    MAP_AT_12_POPULARITY,
    MAP_AT_12_RANDOM,
    MRR,
    NDCG_AT_12,
    displays_key,
    feature_of_key,
)
from components.evaluator.results import OVERALL, Evaluation, Metrics
from pipeline.report import content
from pipeline.report.content import Estimate
from pipeline.report.estimates import column_estimate, finite

METRICS = (
    (MRR, "mean reciprocal rank of the first click"),
    (NDCG_AT_12, "normalised discounted cumulative gain of the first 12"),
    (AUC, "chance that a clicked row scores above one that was not"),
    (GAUC, "AUC within displays, averaged over them"),
    (LOG_LOSS, "mean cross-entropy of a row, in nats; lower is better"),
    (CALIBRATION, "sum of the scores by the number of clicks; 1 is right"),
)
"""Shown beside MAP@12, where they are there."""


def summarise(evaluation: Evaluation, displays: pa.Table | None, best_possible: float | None) -> content.Evaluation:
    """Gathers the figures over all eval displays.

    Args:
        evaluation: From `read_evaluation`.
        displays: One row a display (`components.evaluator.displays`), for the intervals; None if it was not kept.
        best_possible: MAP@12 of whoever knows the click probabilities, None if they are not known.
    """
    own = evaluation.candidate[OVERALL]
    blessed = evaluation.baseline[OVERALL] if evaluation.baseline else {}
    rankings = [
        _ranking(content.RANDOM, "any order, exact expectation", own.get(MAP_AT_12_RANDOM), displays, AP_RANDOM),
        _ranking(content.POPULARITY, "by smoothed as-of CTR of the ad", own.get(MAP_AT_12_POPULARITY), displays, AP_POPULARITY),
        _best_feature(own),
        _ranking(content.BLESSED, "the latest blessed model before this one", blessed.get(MAP_AT_12), displays, AP_BLESSED),
        _ranking(content.CANDIDATE, "the model of this run", own.get(MAP_AT_12), displays, AP),
        _ranking(content.BEST_POSSIBLE, "knows the click probabilities of the synthetic log", best_possible, None, ""),
    ]
    metrics = [
        content.Metric(name, about, finite(own.get(name)), finite(blessed.get(name)))
        for name, about in METRICS
        if name in own or name in blessed
    ]
    return content.Evaluation(int(own.get(displays_key(MAP_AT_12), 0)), tuple(r for r in rankings if r is not None), tuple(metrics))


def _ranking(name: str, about: str, value: float | None, displays: pa.Table | None, column: str) -> content.Ranking | None:
    if value is None or not math.isfinite(value):
        return None
    interval = column_estimate(displays[column]) if displays is not None and column in displays.column_names else None
    bounds = (interval.lower, interval.upper) if interval else (None, None)
    return content.Ranking(name, about, Estimate(value, *bounds))


def _best_feature(own: Metrics) -> content.Ranking | None:
    by_feature = {feature: value for name, value in own.items() if (feature := feature_of_key(name)) and math.isfinite(value)}
    if not by_feature:
        return None
    name = max(by_feature, key=lambda feature: by_feature[feature])
    return content.Ranking(content.BEST_FEATURE, f"by {name} alone", Estimate(by_feature[name]))
