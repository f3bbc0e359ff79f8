"""Metrics a second time, from their definitions and in plain Python, a display and a row at a time."""

import itertools
import math
from collections import defaultdict
from statistics import fmean, median_low

BINS = 1000


def expected(measure, ads, k=12):
    """Mean of a measure of ranked labels over all orders of tied ads; `ads` is (score, label), NaN ranks last."""
    blocks = defaultdict(list)
    for score, label in ads:
        blocks[(0, -score) if not math.isnan(score) else (1, 0)].append(label)
    orders = [list(set(itertools.permutations(block))) for _, block in sorted(blocks.items())]
    return fmean(measure([label for block in order for label in block], k) for order in itertools.product(*orders))


def average_precision(labels, k):
    hits = [i for i, label in enumerate(labels) if label]
    return sum((n + 1) / (i + 1) for n, i in enumerate(hits) if i < k) / min(k, len(hits))


def ndcg(labels, k):
    gain = sum(1 / math.log2(i + 2) for i, label in enumerate(labels[:k]) if label)
    return gain / sum(1 / math.log2(i + 2) for i in range(min(k, sum(labels))))


def reciprocal_rank(labels, _):
    return 1 / (1 + list(labels).index(1))


def pair_auc(ads):
    """Share of (positive, negative) pairs in the right order, half for a tie; None without pairs."""
    pairs = [(p, n) for p, y in ads for n, z in ads if y and not z]
    return fmean(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) if pairs else None


def mean(values):
    values = list(values)
    return fmean(values) if values else math.nan


def metrics(displays, score):
    """Metrics of displays, each a list of rows as dicts; `score` names the column of the model."""
    clicked = [rows for rows in displays if any(row["label"] for row in rows)]
    rows = [row for display in displays for row in display]

    def ads(display, column):
        return [(0.0 if column is None else math.nan if row[column] is None else row[column], row["label"]) for row in display]

    result = {"example_count": len(rows)}
    for name, column in (("map_at_12", score), ("map_at_12_random", None), ("map_at_12_popularity", "popularity")):
        result[name] = mean(expected(average_precision, ads(display, column)) for display in clicked)
        result[f"{name}_displays"] = len(clicked)
        result[f"{name}_displays_without_click"] = len(displays) - len(clicked)
    result["mrr"] = mean(expected(reciprocal_rank, ads(display, score)) for display in clicked)
    result["ndcg_at_12"] = mean(expected(ndcg, ads(display, score)) for display in clicked)
    within = [
        (len(display), pair_auc([(-math.inf if math.isnan(s) else s, y) for s, y in ads(display, score)])) for display in clicked
    ]
    within = [(n, value) for n, value in within if value is not None]
    result["gauc"] = sum(n * value for n, value in within) / sum(n for n, _ in within) if within else math.nan
    clicks = sum(row["label"] for row in rows)
    clip = [min(max(row[score], 1e-7), 1 - 1e-7) if not math.isnan(row[score]) else math.nan for row in rows]
    result["log_loss"] = mean(-math.log(p if row["label"] else 1 - p) for p, row in zip(clip, rows, strict=True))
    result["calibration"] = sum(row[score] for row in rows) / clicks if clicks else math.nan
    if math.isnan(result["log_loss"]):
        result["auc"] = math.nan
    else:
        binned = pair_auc([(min(math.floor(min(max(row[score], -1), 1) * BINS), BINS), row["label"]) for row in rows])
        result["auc"] = math.nan if binned is None else binned
    return result


def feature_alone(displays, feature):
    """MAP@12 of a feature as the score, falling or rising, whichever is higher."""
    clicked = [rows for rows in displays if any(row["label"] for row in rows)]

    def value(row, sign):
        return math.nan if row[feature] is None else sign * row[feature]

    return max(
        mean(expected(average_precision, [(value(row, sign), row["label"]) for row in display]) for display in clicked)
        for sign in (1, -1)
    )


def slice_values(display):
    """The values of the slice columns of a display that need no time zone; None where it has none."""
    ages = [row["doc_ad_days_since_published"] for row in display if row["doc_ad_days_since_published"] is not None]
    age = median_low(ages) if ages else None
    views = display[0]["user_views"]
    return {
        "event_platform": display[0]["event_platform"],
        "event_country_state": display[0]["event_country_state"],
        "ads_per_display": display[0]["ads_per_display"],
        "ad_age": "unknown"
        if age is None
        else "0-6 days"
        if age < 7
        else "7-29 days"
        if age < 30
        else "30-179 days"
        if age < 180
        else "180 days or more",
        "new_ad": "new" if any(row["ad_views"] is None for row in display) else "known",
        "new_user": None if views is None else "new" if views <= 1 else "known",
    }
