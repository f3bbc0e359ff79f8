"""Whole displays judged at once, against plain Python and against themselves in other parts and orders."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluator import tfma_results
from components.evaluator.columns import RANKED_BY, table_types
from components.evaluator.displays import displays_schema
from components.evaluator.judge import Plan, judge, score_column
from components.evaluator.results import OVERALL
from components.evaluator.tally import add_up
from tests.components.evaluator import brute_force
from tests.rows import random_rows
from transforms.partition import partition_of, scatter

SLICES = (
    ("event_platform",),
    ("event_country_state",),
    ("ads_per_display",),
    ("ad_age",),
    ("new_ad",),
    ("new_user",),
    ("new_user", "event_platform"),
)
PLAN = Plan(("candidate", "baseline"), "baseline", SLICES, ("pop_ad_id", "ad_views", "user_doc_ad_sim_topics"))


def rows_to_judge(displays, seed, nan=0.0, plan=PLAN):
    """Random rows: some displays without a click, some with several, tied and missing scores."""
    rng = np.random.default_rng(seed)
    rows = random_rows(displays, seed)
    n = rows.num_rows
    label = rows["label"].to_numpy().copy()
    label[rng.random(n) < 0.1] = 1
    label[rows["display_id"].to_numpy() % 7 == 0] = 0
    columns = {name: rows[name].combine_chunks().cast(kind) for name, kind in table_types(plan).items()}
    columns["label"] = pa.array(label)
    columns["user_views"] = pa.array(
        np.array([0, 1, 2])[rows["display_id"].to_numpy() % 3], mask=rows["display_id"].to_numpy() % 5 == 0
    )
    for model in plan.models:
        score = (rng.integers(0, 9, n) / 8 * rng.random()).astype(np.float32)
        score[rng.random(n) < nan] = np.nan
        columns[score_column(model)] = pa.array(score)
    return pa.table(columns)


def evaluate(rows, partitions=1, plan=PLAN):
    """Slice -> model -> metric -> value, and the displays."""
    parts = [judge(part, plan) for _, part in scatter(rows, partition_of(rows["display_id"].to_numpy(), partitions))]
    tally = add_up([sums for sums, _ in parts])
    found = {}
    for key, metrics in tfma_results.metrics(tally, plan):
        for metric, value in metrics.items():
            if not metric.is_diff:
                found.setdefault(key, {}).setdefault(metric.model_name, {})[metric.name] = value
    return found, pa.concat_tables([displays for _, displays in parts]).sort_by("display_id")


def displays_of(rows):
    by_display = {}
    for row in rows.to_pylist():
        by_display.setdefault(row["display_id"], []).append(row)
    return [by_display[display] for display in sorted(by_display)]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 25), st.integers(0, 2**31), st.sampled_from([0.0, 0.0, 0.05]), st.integers(1, 4))
def test_every_metric_of_every_slice_equals_plain_python(displays, seed, nan, partitions):
    rows = rows_to_judge(displays, seed, nan)
    found, _ = evaluate(rows, partitions)
    groups = {OVERALL: displays_of(rows)}
    for display in displays_of(rows):
        values = brute_force.slice_values(display)
        for entry in SLICES:
            key = tuple((name, values[name]) for name in sorted(entry))
            if all(value is not None for _, value in key):
                groups.setdefault(key, []).append(display)
    assert set(found) == set(groups)
    for key, group in groups.items():
        for model in PLAN.models:
            expected = brute_force.metrics(group, score_column(model))
            got = found[key][model]
            assert {name for name in got if "/" not in name} == set(expected)
            for name, value in expected.items():
                assert got[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), (key, model, name)
    for feature in PLAN.features:
        alone = brute_force.feature_alone(groups[OVERALL], feature)
        assert found[OVERALL]["candidate"][f"map_at_12_of_feature/{feature}"] == pytest.approx(alone, rel=1e-9, nan_ok=True)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_the_order_of_the_rows_does_not_change_a_bit(seed, partitions):
    rows = rows_to_judge(40, seed)
    shuffled = rows.take(np.random.default_rng(seed).permutation(rows.num_rows))
    one, other = evaluate(rows, partitions), evaluate(shuffled, partitions)
    assert repr(one[0]) == repr(other[0])  # NaN equals NaN, and every bit shows
    assert one[1].equals(other[1])


def test_displays_by_hand():
    plan = Plan(("candidate", "baseline"), "baseline", (("event_platform",), ("new_ad",)), ())
    rows = pa.table(
        {
            "display_id": pa.array([8, 8, 8, 3, 3]),
            "ad_id": pa.array([1, 2, 3, 1, 2]),
            "label": pa.array([0, 1, 0, 0, 0]),
            "popularity": pa.array([0.1, 0.3, 0.2, 0.5, 0.5], pa.float32()),
            "event_platform": pa.array([0, 0, 0, None, None], pa.int64()),
            "ad_views": pa.array([7, 9, 8, None, 12], pa.int64()),
            "score/candidate": pa.array([0.9, 0.8, 0.1, 0.5, 0.4], pa.float32()),
            "score/baseline": pa.array([0.9, 0.8, 0.85, 0.5, 0.4], pa.float32()),
        }
    )
    _, displays = judge(rows, plan)
    assert displays.schema == displays_schema(("event_platform", "new_ad"), has_baseline=True)
    first, second = displays.to_pylist()
    assert first == {
        "display_id": 3,
        "ads": 2,
        "clicks": 0,
        **dict.fromkeys(["map_at_12", "map_at_12_blessed", "map_at_12_random", "map_at_12_popularity"]),
        "slice.event_platform": None,
        "slice.new_ad": "new",
    }
    assert second["display_id"] == 8
    assert (second["ads"], second["clicks"], second["slice.event_platform"], second["slice.new_ad"]) == (3, 1, "0", "known")
    assert second["map_at_12"] == 1 / 2
    assert second["map_at_12_blessed"] == pytest.approx(1 / 3)
    assert second["map_at_12_random"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert second["map_at_12_popularity"] == 1


def test_the_displays_add_up_to_the_metrics():
    rows = rows_to_judge(60, 5)
    found, displays = evaluate(rows, 3)
    for model, column in (("candidate", "map_at_12"), ("baseline", "map_at_12_blessed")):
        values = [v for v in displays[column].to_pylist() if v is not None]
        assert np.mean(values) == pytest.approx(found[OVERALL][model]["map_at_12"], rel=1e-12)
        platform = np.array([value == "1" for value in displays["slice.event_platform"].to_pylist()])
        inside = [v for v, of in zip(displays[column].to_pylist(), platform, strict=True) if of and v is not None]
        assert np.mean(inside) == pytest.approx(found[("event_platform", 1),][model]["map_at_12"], rel=1e-12)


def test_no_display_with_a_click():
    rows = rows_to_judge(6, 1)
    rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.zeros(rows.num_rows, np.int64)))
    found, displays = evaluate(rows)
    metrics = found[OVERALL]["candidate"]
    assert metrics["map_at_12_displays"] == 0
    assert metrics["map_at_12_displays_without_click"] == 6
    assert all(math.isnan(metrics[name]) for name in ("map_at_12", "mrr", "ndcg_at_12", "gauc", "auc", "calibration"))
    assert math.isfinite(metrics["log_loss"])
    assert displays["map_at_12"].null_count == 6


def test_a_single_model_has_no_name_and_no_baseline():
    plan = Plan(("",), None, (), RANKED_BY)
    found, displays = evaluate(rows_to_judge(9, 2, plan=plan), 2, plan)
    assert set(found) == {OVERALL}
    assert set(found[OVERALL]) == {""}
    assert "map_at_12_blessed" not in displays.column_names
    assert sum(name.startswith("map_at_12_of_feature/") for name in found[OVERALL][""]) == len(RANKED_BY) > 50


def test_small_slices_have_no_plot():
    rows = rows_to_judge(400, 4)
    sums, _ = judge(rows, PLAN)
    plotted = {key for key, _ in tfma_results.plots(sums, PLAN)}
    sizes = {key: by_model["candidate"]["example_count"] for key, by_model in evaluate(rows)[0].items()}
    assert OVERALL in plotted
    assert plotted == {key for key, rows in sizes.items() if rows >= 1000}
    assert 1 < len(plotted) < len(sizes)
