"""How a log lies on the disk, and how the work is cut, change no row."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.synth import generate
from schemas.config import FeaturesConfig, SplitConfig
from schemas.tables import OUTBRAIN, SUFFIXES
from tests.tables import read_rows, write_part, write_table
from tests.transforms.test_compute_features import compute
from transforms.base_rows import SPLIT

ROLES = [table.role for table in OUTBRAIN.tables if table.role != "clicks_test"]
SPLITS = SplitConfig(eval_days=(5, 10))

parts = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(SUFFIXES), st.booleans()), max_size=4)
"""For each part of a table: where it ends, its suffix, whether its columns are reversed. No part: one plain file."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The rows of a small log by table, and its feature rows."""
    folder = tmp_path_factory.mktemp("log")
    generate(folder, displays=60, users=25, documents=60, ads=30, page_views=600, seed=4)
    rows, rejects, _ = compute(folder, tmp_path_factory.mktemp("reference") / "work", SPLITS)
    assert rejects == []
    assert len(set(rows[SPLIT].to_pylist())) == 3
    return {role: read_rows(folder, role) for role in ROLES}, rows


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    layout=st.fixed_dictionaries(dict.fromkeys(ROLES, parts)),
    order=st.randoms(use_true_random=False),
    partition_bytes=st.sampled_from([1500, 6000, 1 << 20]),
    block_bytes=st.integers(64, 1 << 14),
)
def test_partitions_row_order_and_files_change_no_row(tables, layout, order, partition_bytes, block_bytes):
    rows_of, expected = tables
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        for role, cuts in layout.items():
            write(log, role, order.sample(rows_of[role], len(rows_of[role])), cuts)
        features = FeaturesConfig(partition_bytes=partition_bytes)
        found, rejects, _ = compute(log, Path(folder) / "work", SPLITS, features, block_bytes=block_bytes)
    assert rejects == []
    assert found.equals(expected)


def write(log: Path, role: str, rows: list[list[str]], cuts: list[tuple[float, str, bool]]) -> None:
    """Writes a table as the parts say; the last one has all that is left, and some may have a header alone."""
    if not cuts:
        write_table(log, role, rows)
        return
    ends = [*sorted(int(end * len(rows)) for end, _, _ in cuts[1:]), len(rows)]
    for i, (start, end, (_, suffix, reverse)) in enumerate(zip([0, *ends], ends, cuts, strict=False)):
        write_part(log, role, f"part-{i}{suffix}", rows[start:end], reverse=reverse)
