"""The leak audit's arithmetic: AUCs against all pairs, later page views against a plain search."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from schemas.features import FEATURES
from schemas.tables import OUTBRAIN
from tests.tables import write_table
from transforms.audit import PROBED, auc, chance_gap, gap, numbers, probe, read_views, viewed_at_or_after
from transforms.sources import find_sources
from transforms.users import user_number


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_share_of_pairs_in_order_with_ties_as_halves(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, 40).astype(float)
    values[:5] = -np.inf
    labels = rng.integers(0, 2, 40)
    pairs = [
        (v > w) + (v == w) / 2
        for (v, a), (w, b) in itertools.product(zip(values, labels, strict=True), repeat=2)
        if a == 1 and b == 0
    ]
    assert auc(values, labels) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0]])
def test_without_rows_of_both_kinds_there_is_no_auc(labels):
    assert np.isnan(auc(np.zeros(len(labels)), np.array(labels)))
    assert np.isnan(gap(0.7, float("nan")))
    assert chance_gap(np.array(labels), np.array([0, 1])) == np.inf


def test_missing_and_nan_are_the_lowest_bucket():
    column = pa.chunked_array([pa.array([1.0, None, -5.0], pa.float32()), pa.array([float("nan")], pa.float32())])
    assert numbers(column).tolist() == [1.0, -np.inf, -5.0, -np.inf]
    assert numbers(pa.array([3, None], pa.int64())).tolist() == [3.0, -np.inf]


def test_the_orientation_is_that_of_train():
    values, labels = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 1, 0, 0])
    assert probe(values, labels, values, labels) == (1.0, 1.0)
    assert probe(values, labels, values, labels[::-1]) == (1.0, 0.0)
    assert gap(1.0, 0.0) == 0.5
    assert gap(0.7, 0.6) == pytest.approx(0.1)
    assert gap(0.6, 0.7) == pytest.approx(-0.1)


def test_the_chance_gap_is_two_standard_deviations_of_what_is_seen():
    rng = np.random.default_rng(0)
    train, held_out = np.arange(900) % 5 == 0, np.arange(300) % 5 == 0
    found = [auc(rng.random(900), train) - auc(rng.random(300), held_out) for _ in range(1000)]
    assert chance_gap(train, held_out) == pytest.approx(2 * np.std(found), rel=0.1)


def test_ids_and_keys_are_not_probed():
    kinds = {feature.name: feature.kind for feature in FEATURES}
    assert {kinds[name] for name in PROBED if name != "popularity"} == {"numeric", "indicator"}
    assert set(kinds) - set(PROBED) == {name for name, kind in kinds.items() if kind in ("id", "ids")}


def test_viewed_at_or_after_equals_a_plain_search(tmp_path):
    rng = np.random.default_rng(3)
    views = [
        (f"{rng.integers(8):014x}", int(rng.choice([0, 1, 2, 2**31 - 1])), int(rng.integers(30)), 1, None, 1) for _ in range(60)
    ]
    write_table(tmp_path, "page_views", [*views[:30], ("x", -1, 5, 1, None, 1), *views[30:]])
    for role, row in (("clicks_train", (1, 1, 1)), ("events", (1, "u", 1, 1, 1, "")), ("promoted_content", (1, 1, 1, 1))):
        write_table(tmp_path, role, [row])
    source = find_sources(str(tmp_path), OUTBRAIN)["page_views"]
    rows = [(f"{u:014x}", d, t) for u in range(10) for d in (-1, 0, 1, 2, 3, 2**31 - 1) for t in range(0, 30, 3)]
    uuid, document, timestamp = zip(*rows, strict=True)
    expected = [any((u, d) == (v[0], v[1]) and v[2] >= t for v in views) for u, d, t in rows]
    for block_bytes in (64, 1 << 20):
        found = viewed_at_or_after(
            user_number(pa.array(uuid)), np.array(document), np.array(timestamp), read_views(source, block_bytes)
        )
        assert found.tolist() == expected
    assert 0 < sum(expected) < len(expected)
    nothing = np.zeros(0, np.int64)
    assert viewed_at_or_after(nothing, nothing, nothing, read_views(source, 64)).tolist() == []
