"""Runs feature engineering alone, on any Beam runner: raw tables in, a folder of Arrow files out.

    python -m benchmarks.feature_rows DATA OUT [--core] [Beam's flags]

Every labelled display is history (no split), so that the rows depend on the log alone.
"""

import argparse
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from schemas.beam import LOCAL_BEAM_RUNNER
from schemas.config import FeaturesConfig, IngestConfig
from schemas.tables import OUTBRAIN
from transforms.compute_features import ComputeFeatures
from transforms.dimensions import load, save
from transforms.feature_job import plan
from transforms.partition import receive

CORE_COLUMNS = ("display_id", "ad_id", "user_views", "ad_views", "pop_ad_id", "user_doc_ad_sim_topics")
"""What the hand-written contenders compute, too."""


def compute(
    data: Path,
    out: Path,
    flags: Sequence[str] = (),
    *,
    columns: Sequence[str] | None = None,
    partition_bytes: int | None = None,
) -> None:
    """Writes the feature rows of `data` into the new folder `out`, one file a partition; `out` is complete or not there.

    Args:
        data: Folder of the raw tables.
        out: Where the rows go. All workers reach its parent.
        flags: Beam's flags; its local runner unless they name another.
        columns: The columns to compute; all unless given.
        partition_bytes: Instead of the default of `features.partition_bytes`.
    """
    work = out.with_name(f".{out.name}-{uuid.uuid4().hex}")
    rows = work / "rows"
    rows.mkdir(parents=True)
    try:
        features = FeaturesConfig(**({"partition_bytes": partition_bytes} if partition_bytes else {}))
        job, _, _ = plan(str(data), str(work), OUTBRAIN, IngestConfig(), features, None, columns=columns)
        with beam.Pipeline(options=PipelineOptions([f"--runner={LOCAL_BEAM_RUNNER}", *flags])) as pipeline:
            _ = (pipeline | ComputeFeatures(job))["rows"] | "Save" >> beam.Map(_save, str(rows))
        rows.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def read(out: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads rows that `compute` wrote, by display_id and ad_id."""
    parts = [load(str(file)) for file in sorted(out.glob("part-*.arrow"))]
    table = pa.concat_tables([part.select(list(columns)) if columns else part for part in parts])
    return table.sort_by([("display_id", "ascending"), ("ad_id", "ascending")])


def _save(element: tuple[int, bytes | str], folder: str) -> None:
    """Writes one partition's rows; doing it again gives the same file."""
    number, packed = element
    aside = f"{folder}/.{uuid.uuid4().hex}"
    save(receive(packed), aside)
    Path(aside).rename(f"{folder}/part-{number:05d}.arrow")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--core", action="store_true")
    parser.add_argument("--partition-bytes", type=int)
    known, flags = parser.parse_known_args()
    columns = CORE_COLUMNS if known.core else None
    compute(known.data, known.out, flags, columns=columns, partition_bytes=known.partition_bytes)


if __name__ == "__main__":
    from benchmarks import feature_rows  # under its own name, so that workers in other processes find `_save`

    feature_rows.main()
