"""Plans a run of feature engineering: finds the files, reads the small tables, decides how many parts the work is cut into."""

import logging
from collections.abc import Collection

from apache_beam.io.filesystems import FileSystems

from schemas.config import FeaturesConfig, IngestConfig, SplitConfig
from schemas.features import ASPECTS, DOCUMENT_LATENT, LATENT_ASPECTS, USER_LATENT
from schemas.tables import Dataset
from transforms.aspects import load_aspects
from transforms.compute_features import FeatureJob
from transforms.dimensions import drop_repeated, load_table, save
from transforms.latent import document_vectors
from transforms.parse import Reject
from transforms.sources import Source, find_sources, missing_features
from transforms.wanted import all_columns, optional_tables

_log = logging.getLogger(__name__)

_SMALL_TABLES = {
    "promoted_content": ("ad_id",),
    "documents_meta": ("document_id",),
    **{aspect.table: ("document_id", aspect.id_column) for aspect in ASPECTS},
}
"""Tables that every worker holds, with the columns that identify a row."""

_SHOWN_NAMES = 3

_FUTURE = (
    "features.history=all: rows see the future and THEIR OWN LABEL; figures made with it are comparable with published work only, "
    "and say nothing about how a model ranks"
)

_GROWTH = 8
"""How much larger the rows of displays become with all their features, roughly."""


def plan(
    data: str,
    work: str,
    dataset: Dataset,
    ingest: IngestConfig,
    features: FeaturesConfig,
    split: SplitConfig | None,
    *,
    with_test: bool = False,
    columns: Collection[str] | None = None,
) -> tuple[FeatureJob, list[Reject], list[tuple[str, int]]]:
    """Prepares a job.

    Args:
        data: Folder of the raw tables.
        work: An existing folder for what the workers load; theirs until the job is done.
        dataset: The log's description.
        ingest, features, split: Configuration; see `FeatureJob`.
        with_test: Whether the displays of clicks_test are computed, too.
        columns: Names of columns of the feature table; only these are computed, from the tables that they need. All unless given.

    Returns:
        The job, and the bad rows and counts of the tables read here.

    Raises:
        InputDataError: A table is missing or unusable.
    """
    sources = find_sources(data, dataset, need=("clicks_test",) if with_test else ())
    wanted = all_columns() if columns is None else frozenset(columns)
    needed = {"clicks_train", "clicks_test", "events", "promoted_content"} | optional_tables(wanted)
    for role, names in missing_features(sources).items():
        names = tuple(name for name in names if name in wanted)
        if not names:
            continue
        shown = ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
        _log.warning("table %s is absent: its %d features are missing (%s)", role, len(names), shown)
    sources = {role: source for role, source in sources.items() if role in needed}
    if features.history == "all":
        _log.warning(_FUTURE)
    rejects: list[Reject] = []
    counts: list[tuple[str, int]] = []
    saved: dict[str, tuple[str, int]] = {}
    for role, key in _SMALL_TABLES.items():
        if role in sources:
            rows, bad = load_table(sources[role], ingest.block_bytes)
            counts.append((f"rows/{role}", rows.num_rows + len(bad)))
            rows, repeated = drop_repeated(rows, key, role)
            bad += repeated
            counts.append((f"bad/{role}", len(bad)))
            rejects += bad
            path = FileSystems.join(work, f"{role}.arrow")
            save(rows, path)
            saved[role] = path, rows.num_rows
    documents, total_documents = saved.get("documents_meta", (None, 0))
    aspects = {aspect.name: saved[aspect.table][0] for aspect in ASPECTS if aspect.table in saved}
    vectors = None
    if total_documents and not wanted.isdisjoint({USER_LATENT, DOCUMENT_LATENT}) and all(a.name in aspects for a in LATENT_ASPECTS):
        vectors = FileSystems.join(work, "document_vectors.arrow")
        save(document_vectors([load_aspects(aspects[aspect.name], total_documents) for aspect in LATENT_ASPECTS]), vectors)
    big = ["clicks_train", "events"] + ["clicks_test"] * with_test
    job = FeatureJob(
        dataset,
        sources,
        ads=saved["promoted_content"][0],
        documents=documents,
        total_documents=total_documents,
        aspects=aspects,
        vectors=vectors,
        work=work,
        partitions=1 + _GROWTH * _text_bytes(sources, big) // features.partition_bytes,
        user_partitions=1 + _text_bytes(sources, ["page_views"]) // features.partition_bytes,
        ingest=ingest,
        features=features,
        split=split,
        with_test=with_test,
        columns=wanted,
    )
    return job, rejects, counts


def _text_bytes(sources: dict[str, Source], roles: list[str]) -> int:
    return sum(sources[role].text_bytes for role in roles if role in sources)
