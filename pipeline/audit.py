"""The leak audit of `clickrank features`: reads a finished result, says what leaks in the log and which features leak."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from components.evaluator.average_precision import mean_average_precision
from transforms import audit as leaks
from transforms.sources import Source
from transforms.users import user_number


def audit(folder: Path, views: Source | None, block_bytes: int, max_auc_gap: float) -> dict[str, Any]:
    """Audits the Parquet files of a folder. Memory is that of a few columns at a time, so one machine does for large logs.

    Args:
        folder: Holds `train-*.parquet` and `eval-*.parquet` with the columns of the feature table.
        views: The page views; None if the log has none.
        block_bytes: Bytes of CSV text read at a time.
        max_auc_gap: See `AuditConfig`.

    Returns:
        Ready for JSON: `passed`; `failed`, the names of features that did not pass; `max_auc_gap`; `leak`, by table (`page_views`)
        None if it is absent, else by split `rows`, `flagged`, `share`, `map_at_12` of the flag alone, `map_at_12_random`; `probes`,
        what `transforms.audit.probe_all` returns.
    """
    probes = leaks.probe_all(lambda split, name: _columns(folder, split, name)[name], max_auc_gap)
    failed = [probe["feature"] for probe in probes if probe["verdict"] == "FAIL"]
    return {
        "passed": not failed,
        "failed": failed,
        "max_auc_gap": max_auc_gap,
        "leak": {"page_views": _leak(folder, views, block_bytes) if views else None},
        "probes": probes,
    }


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Renders what `audit` returned for people."""
    yield "Leak in the log: rows whose user viewed the ad's document at or after the display"
    for table, by_split in result["leak"].items():
        if by_split is None:
            yield f"  {table}: n/a, the table is absent"
            continue
        for split, found in by_split.items():
            yield (
                f"  {table} {split:<5} {found['flagged']:,} of {found['rows']:,} rows ({found['share']:.2%}); "
                f"MAP@12 by this flag alone {_shown(found['map_at_12'])}, random {_shown(found['map_at_12_random'])}"
            )
    yield "Features alone (ids are not probed: nothing in them is computed from labels)"
    yield f"  {'feature':<44} {'train AUC':>9} {'eval AUC':>9} {'gap':>8}  verdict"
    for probe in result["probes"]:
        numbers = f"{_shown(probe['auc_train']):>9} {_shown(probe['auc_eval']):>9} {_shown(probe['gap'], '+'):>8}"
        yield f"  {probe['feature']:<44} {numbers}  {probe['verdict']}"


def _shown(value: float | None, sign: str = "") -> str:
    return "n/a" if value is None else f"{value:{sign}.4f}"


def _leak(folder: Path, views: Source, block_bytes: int) -> dict[str, dict[str, Any]]:
    parts = {split: _columns(folder, split, "display_id", "uuid", "doc_id", "timestamp", "label") for split in leaks.SPLITS}
    rows = pa.concat_tables(parts.values())
    flag = leaks.viewed_at_or_after(
        user_number(rows["uuid"]),
        pc.fill_null(rows["doc_id"], -1).to_numpy(),
        rows["timestamp"].to_numpy(),
        leaks.read_views(views, block_bytes),
    )
    found, start = {}, 0
    for split, part in parts.items():
        flagged, start = flag[start : start + part.num_rows], start + part.num_rows
        display, label = part["display_id"].to_numpy(), part["label"].to_numpy()
        found[split] = {
            "rows": part.num_rows,
            "flagged": int(flagged.sum()),
            "share": float(flagged.mean()),
            "map_at_12": _number(mean_average_precision(display, flagged, label).value),
            "map_at_12_random": _number(mean_average_precision(display, np.zeros(len(label)), label).value),
        }
    return found


def _columns(folder: Path, split: str, *names: str) -> pa.Table:
    files = sorted(folder.glob(f"{split}-*.parquet"))
    return pa.concat_tables(parquet.read_table(file, columns=list(names), partitioning=None) for file in files)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
