"""Figures of the eval split, on tables that can be checked by hand."""

import math

import numpy as np
import pyarrow as pa
import pytest

from components.evaluator.results import OVERALL, Evaluation
from pipeline.report import calibration, evaluation, slices, verdicts
from pipeline.report.content import Estimate
from pipeline.report.estimates import mean_estimate

OWN = {"map_at_12": 0.75, "map_at_12_displays": 4.0, "map_at_12_random": 0.5, "map_at_12_popularity": 0.6, "auc": 0.7}
DISPLAYS = pa.table(
    {
        "display_id": [1, 2, 3, 4, 5],
        "map_at_12": [1.0, 1.0, 0.5, 0.5, None],
        "map_at_12_blessed": [1.0, 0.5, 0.5, 0.5, None],
        "map_at_12_random": [0.5, 0.5, 0.5, 0.5, None],
        "map_at_12_popularity": [1.0, 0.5, 0.5, 0.4, None],
        "slice.event_platform": ["0", "0", "1", "1", "1"],
    }
)


def test_a_mean_has_the_interval_of_its_standard_error():
    found = mean_estimate(np.array([0.0, 1.0, 0.0, 1.0, math.nan]))
    half = 1.959964 * math.sqrt(1 / 3) / 2  # the deviation of 0, 1, 0, 1 is sqrt(1 / 3)
    assert (found.value, found.lower, found.upper) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-6)
    assert mean_estimate(np.array([0.5])) == Estimate(0.5)
    assert mean_estimate(np.array([math.nan])) is None


def test_rankings_are_there_as_far_as_they_are_known():
    own = {**OWN, "map_at_12_of_feature/ad_views": 0.55, "map_at_12_of_feature/pop_ad_id": 0.58}
    found = evaluation.summarise(Evaluation({OVERALL: own}, None), DISPLAYS, 0.9)
    rankings = {ranking.name: ranking for ranking in found.rankings}
    assert set(rankings) == {"random", "popularity", "best single feature", "this model", "best possible"}
    assert rankings["best single feature"].about == "by pop_ad_id alone"
    assert rankings["best single feature"].map_at_12.value == 0.58
    assert rankings["random"].map_at_12 == Estimate(0.5, 0.5, 0.5)
    assert rankings["this model"].map_at_12.lower == pytest.approx(0.75 - 1.959964 * math.sqrt(1 / 12) / 2, abs=1e-6)
    assert found.displays == 4
    assert [(m.name, m.value, m.blessed) for m in found.metrics] == [("auc", 0.7, None)]


def test_an_older_evaluation_has_no_intervals():
    found = evaluation.summarise(Evaluation({OVERALL: OWN}, {OVERALL: {"map_at_12": 0.7, "auc": 0.6}}), None, None)
    assert [(r.name, r.map_at_12) for r in found.rankings] == [
        ("random", Estimate(0.5)),
        ("popularity", Estimate(0.6)),
        ("blessed model", Estimate(0.7)),
        ("this model", Estimate(0.75)),
    ]
    assert found.metrics[0].blessed == 0.6


PLATFORM = {
    (("event_platform", 0),): {"map_at_12": 1.0, "map_at_12_displays": 2.0, "map_at_12_popularity": 0.75},
    (("event_platform", 1),): {"map_at_12": 0.5, "map_at_12_displays": 2.0, "map_at_12_popularity": 0.45},
}


def test_slices_are_compared_with_popularity_where_no_model_was_blessed():
    found = slices.summarise(Evaluation({OVERALL: OWN, **PLATFORM}, None), DISPLAYS, None)
    assert found.reference == "popularity"
    desktop, mobile = found.rows
    assert (desktop.name, mobile.name) == ("event_platform = 0 (desktop)", "event_platform = 1 (mobile)")
    assert desktop.map_at_12 == Estimate(1.0, 1.0, 1.0)
    assert desktop.difference.value == pytest.approx(0.25)  # of 0 and 0.5
    assert desktop.difference.upper == pytest.approx(0.25 + 1.959964 * 0.25, abs=1e-6)
    assert mobile.difference.value == pytest.approx(0.05)
    assert mobile.displays == 2


def test_slices_are_compared_with_the_blessed_model_as_the_gate_did():
    baseline = {OVERALL: OWN, (("event_platform", 0),): {"map_at_12": 0.75}, (("event_platform", 1),): {"map_at_12": 0.5}}
    judged = {
        "slice": "event_platform=0",
        "difference": 0.2,
        "lower": 0.1,
        "upper": 0.3,
        "adjusted_p_value": 0.04,
        "significant": True,
    }
    found = slices.summarise(Evaluation({OVERALL: OWN, **PLATFORM}, baseline), DISPLAYS, {"slices": [judged]})
    assert found.reference == "the blessed model"
    desktop, mobile = found.rows
    assert (desktop.difference.value, desktop.adjusted_p_value, desktop.is_worse) == (0.25, 0.04, True)
    assert (mobile.difference, mobile.adjusted_p_value, mobile.is_worse) == (Estimate(0.0, 0.0, 0.0), None, False)


def test_slices_go_by_number_where_they_are_numbers_else_by_displays():
    def of(column, value, displays):
        return (((column, value),), {"map_at_12": 0.5, "map_at_12_displays": float(displays)})

    some = dict(
        [of("ads_per_display", 10, 5), of("ads_per_display", 9, 2), of("event_country", "CA", 1), of("event_country", "US", 7)]
    )
    found = slices.summarise(Evaluation({OVERALL: OWN, **some}, None), None, None)
    assert [row.value for row in found.rows] == ["9", "10", "US", "CA"]


def test_the_names_of_values_come_from_the_feature_table():
    assert slices.value_names("event_platform") == {"0": "desktop", "1": "mobile", "2": "tablet"}
    assert slices.value_names("event_hour") == {"0": "5-7", "1": "8-10", "2": "11-13", "3": "14-18", "4": "19-21", "5": "22-4"}
    assert slices.value_names("traffic_source") == {"0": "internal", "1": "search", "2": "social"}
    assert slices.value_names("event_weekend") == slices.value_names("event_country") == {}


def test_calibration_buckets_hold_about_as_many_rows_each():
    histogram = [(10.0, 1.0, 1.2), (10.0, 2.0, 2.5), (0.0, 0.0, 0.0), (20.0, 10.0, 9.0)]
    low, high = calibration.buckets(histogram, 2)
    assert (low.rows, low.predicted, low.clicked.value) == (20.0, pytest.approx(3.7 / 20), pytest.approx(3 / 20))
    assert (high.rows, high.predicted, high.clicked.value) == (20.0, pytest.approx(0.45), pytest.approx(0.5))
    # Wilson's interval of 10 of 20, as in tables.
    assert (high.clicked.lower, high.clicked.upper) == (pytest.approx(0.2993, abs=1e-4), pytest.approx(0.7007, abs=1e-4))
    assert calibration.buckets([]) == calibration.buckets([(0.0, 0.0, 0.0)]) == ()


def test_a_verdict_of_an_older_version_is_read():
    found = verdicts.verdict(
        {"blessed": False, "reasons": ["It is worse."], "checks": [{"name": "a", "passed": False, "sentence": "b"}]}
    )
    assert (found.blessed, found.reasons, found.comparison) == (False, ("It is worse.",), None)
    assert found.checks[0].sentence == "b"
