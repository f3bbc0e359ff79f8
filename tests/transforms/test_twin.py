"""Feature engineering against its brute-force twin: every column of every row, on small logs whose groups and moments repeat."""

import functools
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.synth import generate
from schemas.config import FeaturesConfig, SplitConfig
from schemas.features import ASPECTS, CTR_GROUPS, columns
from schemas.tables import OUTBRAIN
from tests.brute_force import SPLIT, Row, features_of
from tests.tables import DAY, read_rows, write_table
from tests.transforms.test_compute_features import compute

HOUR = DAY // 24
SIZES = {"displays": 150, "users": 60, "documents": 80, "ads": 40, "page_views": 1500}
RTOL, ATOL = 1e-5, 1e-6
SPLITS = SplitConfig(eval_days=(5, 10))  # days 11 and 12 in neither

LOW_THRESHOLDS = {group.feature: i % 2 for i, group in enumerate(CTR_GROUPS)}
CONFIGS = {
    "past": FeaturesConfig(ctr_prior_views=5),
    "past, delayed, low thresholds": FeaturesConfig(ctr_min_views=LOW_THRESHOLDS, ctr_prior_views=0, delay_ms=HOUR),
    "all": FeaturesConfig(history="all", ctr_prior_views=0),
    "all, low thresholds": FeaturesConfig(
        history="all", ctr_min_views=LOW_THRESHOLDS, ctr_prior_views=5, delay_ms=HOUR, ctr_full_confidence_views=20
    ),
}
RUNS = [
    (1, "past"),
    (1, "all, low thresholds"),
    (2, "past, delayed, low thresholds"),
    (2, "all"),
    (3, "past, delayed, low thresholds"),
    (3, "all, low thresholds"),
]
SLOW_RUNS = [(seed, name) for seed in range(1, 8) for name in CONFIGS if (seed, name) not in RUNS]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], tuple[list[Row], list[Row]]]:
    """Returns the function that gives (Beam's rows, the twin's rows) of a seed and configuration, each computed once."""

    @functools.cache
    def log(seed: int) -> Path:
        folder = tmp_path_factory.mktemp(f"seed{seed}") / "log"
        generate(folder, **SIZES, seed=seed)
        return folder if seed == 1 else roughen(folder, seed)

    @functools.cache
    def both(seed: int, name: str) -> tuple[list[Row], list[Row]]:
        work = tmp_path_factory.mktemp("run") / "work"
        found, _, _ = compute(log(seed), work, SPLITS, CONFIGS[name], block_bytes=4096, partitions=1 + 2 * seed)
        return found.to_pylist(), features_of(log(seed), CONFIGS[name], SPLITS)

    return both


@pytest.mark.parametrize(("seed", "name"), [*RUNS, *(pytest.param(*r, marks=pytest.mark.slow) for r in SLOW_RUNS)])
def test_every_column_of_every_row_equals_the_twin(run, seed, name):
    found, expected = run(seed, name)
    assert [(r["display_id"], r["ad_id"]) for r in found] == [(r["display_id"], r["ad_id"]) for r in expected]
    assert set(found[0]) == set(expected[0])
    assert mismatches(found, expected) == []


@pytest.mark.parametrize("name", [*columns(), SPLIT])
def test_the_comparison_covers_the_column(run, name):
    values = [r[name] for key in RUNS for r in run(*key)[1] if r[name] is not None]
    assert values
    assert any(value != values[0] for value in values[1:])


def mismatches(found: Iterable[Row], expected: Iterable[Row]) -> list[str]:
    """One line a column that differs: how often, and the first rows."""
    pairs = list(zip(found, expected, strict=True))
    lines = []
    for name in (*columns(), SPLIT):
        wrong = [(f, e) for f, e in pairs if not same(name, f[name], e[name])]
        if wrong:
            first = "; ".join(f"display {e['display_id']} ad {e['ad_id']}: {f[name]!r}, twin {e[name]!r}" for f, e in wrong[:3])
            lines.append(f"{name}: {len(wrong)} of {len(pairs)} rows, {first}")
    return lines


def same(name: str, found: Any, expected: Any) -> bool:
    """Equality, of floats within single precision; a similarity of 0 is exact, but for latent ones, which are never exact."""
    is_float = columns().get(name) == "float32"
    if found is None or expected is None or not is_float or ("_sim_" in name and "latent" not in name and expected == 0):
        return found == expected
    return abs(found - expected) <= ATOL + RTOL * abs(expected)


# What makes a synthetic log nastier

SAME_CONFIDENCES = ("{:.1f}", "{:.1f}000000001")
"""Rounded confidences, of which those that round to the same are the same in single precision."""


def roughen(folder: Path, seed: int) -> Path:
    """Makes moments, confidences and rows coincide, blanks and fills cells, forgets ads, adds aspects that tell nothing."""
    rng = random.Random(seed)
    tables = {table.role: read_rows(folder, table.role) for table in OUTBRAIN.tables}
    for role in ("events", "page_views"):
        tables[role] = [coarse(rng, role, row) for row in tables[role]]
    tables["page_views"] += [[*row[:-1], rng.choice("123")] for row in rng.sample(tables["page_views"], 500)]
    ads = tables["promoted_content"]
    tables["promoted_content"] = [*ads[3:], [ads[-1][0], *ads[-2][1:]]]  # three are unknown, one repeats
    tables["documents_meta"] = [described(rng, row) for row in tables["documents_meta"]]
    documents = sorted({row[0] for row in tables["documents_meta"]} | {row[1] for row in ads})
    for aspect in ASPECTS:
        rows = [
            [document, x, rng.choice(SAME_CONFIDENCES).format(min(0.9, float(confidence)))]
            for document, x, confidence in tables[aspect.table]
        ]
        repeats = [[document, x, "0.95"] for document, x, _ in rng.sample(rows, len(rows) // 5)]
        ubiquitous = "0" * 32 if aspect.dtype == "string" else 99_999
        some = rng.sample(documents, len(tables["documents_meta"]))
        tables[aspect.table] = [*rows, *repeats, *([document, ubiquitous, "0.5"] for document in some)]
    for role, rows in tables.items():
        write_table(folder, role, rows)
    return folder


def coarse(rng: random.Random, role: str, row: list[str]) -> list[str]:
    """The event or page view at the full hour, one in ten without one of its optional cells."""
    cells = dict(zip([column.name for column in OUTBRAIN.table(role).columns], row, strict=True))
    cells["timestamp"] = str(int(cells["timestamp"]) // HOUR * HOUR)
    if rng.random() < 0.1:
        cells[rng.choice([column.name for column in OUTBRAIN.table(role).columns if column.nullable])] = ""
    return list(cells.values())


def described(rng: random.Random, row: list[str]) -> list[str]:
    """The document, mostly with a publisher and a publish time in the days of the log, ten years before or between."""
    document, source, _, _ = row
    publisher = rng.choice(["", "1", "2", "3"])
    published = rng.choice(["", "2016-06-{:02}", "2006-06-{:02}", "2015-12-{:02}"])
    return [document, source, publisher, published and f"{published.format(rng.randint(10, 30))} 12:34:56.5"]
