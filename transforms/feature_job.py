"""Plans a run of feature engineering: finds the files, reads the small tables, decides how many parts the work is cut into."""

import logging

from apache_beam.io.filesystems import FileSystems

from schemas.config import FeaturesConfig, IngestConfig, SplitConfig
from schemas.tables import Dataset
from transforms.compute_features import FeatureJob
from transforms.dimensions import drop_repeated, load_table, save
from transforms.parse import Reject
from transforms.sources import find_sources, missing_features

_log = logging.getLogger(__name__)

_COMPRESSION = 5
"""How much larger CSV text is than its compressed file, roughly."""


def plan(
    data: str,
    work: str,
    dataset: Dataset,
    ingest: IngestConfig,
    features: FeaturesConfig,
    split: SplitConfig | None,
    *,
    with_test: bool = False,
) -> tuple[FeatureJob, list[Reject], list[tuple[str, int]]]:
    """Prepares a job.

    Args:
        data: Folder of the raw tables.
        work: An existing folder for what the workers load; theirs until the job is done.
        dataset: The log's description.
        ingest, features, split: Configuration; see `FeatureJob`.
        with_test: Whether the displays of clicks_test are computed, too.

    Returns:
        The job, and the bad rows and counts of the tables read here.

    Raises:
        InputDataError: A table is missing or unusable.
    """
    sources = find_sources(data, dataset, need=("clicks_test",) if with_test else ())
    for role, names in missing_features(sources).items():
        _log.warning("table %s is absent, so these features are missing: %s", role, ", ".join(names))
    rejects: list[Reject] = []
    counts: list[tuple[str, int]] = []
    paths: dict[str, str | None] = {"promoted_content": None, "documents_meta": None}
    for role in paths:
        if role in sources:
            rows, bad = load_table(sources[role], ingest.block_bytes)
            counts.append((f"rows/{role}", rows.num_rows + len(bad)))
            (key, *_) = (column.name for column in dataset.table(role).columns)
            rows, repeated = drop_repeated(rows, (key,), role)
            bad += repeated
            counts.append((f"bad/{role}", len(bad)))
            rejects += bad
            path = FileSystems.join(work, f"{role}.arrow")
            save(rows, path)
            paths[role] = path
    big = ["clicks_train", "events"] + ["clicks_test"] * with_test
    text_bytes = sum(sources[role].size_bytes * (1 if sources[role].is_plain else _COMPRESSION) for role in big)
    partitions = 1 + text_bytes // features.partition_bytes
    ads = paths["promoted_content"]
    assert ads is not None  # find_sources saw to it: the table is required
    job = FeatureJob(dataset, sources, ads, paths["documents_meta"], partitions, ingest, features, split, with_test)
    return job, rejects, counts
