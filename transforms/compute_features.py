"""The Beam pipeline of feature engineering: raw tables in, feature rows out, an Arrow table at a time.

Two shuffles, however many CTR groups there are: displays meet their events by display_id, then every row's keys meet the click
history of that key, and the counts return to the row's partition.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import PBegin, TaggedOutput

from schemas.config import FeaturesConfig, IngestConfig, SplitConfig
from schemas.tables import DAY_MS, Dataset
from transforms.base_rows import SPLIT, base_rows
from transforms.blocks import Block, cut
from transforms.dimensions import Dimension, load
from transforms.displays import join_displays
from transforms.history import add_history, answer_requests, history_requests
from transforms.parse import Reject, empty_table, parse
from transforms.partition import from_bytes, partition_of, scatter, to_bytes
from transforms.sources import Source
from transforms.split import SPLIT_NAMES

REJECTS, COUNTS = "rejects", "counts"


@dataclass(frozen=True)
class FeatureJob:
    """What one run of feature engineering works on.

    Attributes:
        dataset: The log's description.
        sources: Files of the tables, by role.
        ads: Path of the saved ads dimension.
        documents: Path of the saved documents dimension; None if the log has no such table.
        partitions: How many parts the work is cut into.
        ingest, features: Configuration.
        split: How to split; None makes every labelled row history, for scoring.
        with_test: Whether the displays of clicks_test are computed, too.
    """

    dataset: Dataset
    sources: dict[str, Source]
    ads: str
    documents: str | None
    partitions: int
    ingest: IngestConfig
    features: FeaturesConfig
    split: SplitConfig | None
    with_test: bool = False


class ComputeFeatures(beam.PTransform):
    """Gives {"rows": (partition, packed feature rows with SPLIT), "rejects": Reject, "counts": (name, number)}.

    Every partition's rows come as one element, in the order of display_id and ad_id, whatever the order of the input.
    Counts are not yet summed.
    """

    def __init__(self, job: FeatureJob):
        super().__init__()
        self._job = job

    def expand(self, begin: PBegin) -> Any:
        job = self._job
        roles = ["clicks_train", "events"] + ["clicks_test"] * job.with_test
        outputs = {role: begin | f"Read[{role}]" >> ReadTable(job.sources[role], job.ingest, job.partitions) for role in roles}
        joined = (
            {role: outputs[role].rows for role in roles}
            | "MeetEvents" >> beam.CoGroupByKey()
            | "JoinDisplays" >> beam.ParDo(_JoinDisplays(job)).with_outputs(REJECTS, COUNTS, main="rows")
        )
        counts = (
            joined.rows
            | "AskHistory" >> beam.FlatMap(_ask_history, job.partitions)
            | "MeetHistory" >> beam.GroupByKey()
            | "CountAsOf" >> beam.FlatMap(_count_as_of, job.features.delay_ms)
        )
        rows = {"rows": joined.rows, "counts": counts} | "ReturnHome" >> beam.CoGroupByKey()
        done = rows | "AddHistory" >> beam.Map(_add_history, job.features)
        parts = [*outputs.values(), joined]
        return {
            "rows": done,
            REJECTS: [part[REJECTS] for part in parts] | "AllRejects" >> beam.Flatten(),
            COUNTS: [part[COUNTS] for part in parts] | "AllCounts" >> beam.Flatten(),
        }


class ReadTable(beam.PTransform):
    """Reads one table's file into (partition of display_id, packed rows), with its rejects and counts beside."""

    def __init__(self, source: Source, ingest: IngestConfig, partitions: int):
        super().__init__()
        self._source, self._ingest, self._partitions = source, ingest, partitions

    def expand(self, begin: PBegin) -> Any:
        return (
            begin
            | beam.Create([self._source])
            | "Cut" >> beam.FlatMap(cut, self._ingest.block_bytes)
            | beam.Reshuffle()
            | "Parse" >> beam.FlatMap(_parse_block, self._partitions).with_outputs(REJECTS, COUNTS, main="rows")
        )


def _parse_block(block: Block, partitions: int) -> Iterator[Any]:
    source = block.source
    rows, rejects = parse(block.read(), source.table, source.header, block.first_line, source.path)
    yield from _report(source.table.role, rows.num_rows + len(rejects), rejects)
    for number, part in scatter(rows, partition_of(rows["display_id"].to_numpy(), partitions)):
        yield number, to_bytes(part)


def _report(role: str, rows_read: int, rejects: list[Reject]) -> Iterator[TaggedOutput]:
    if rows_read:
        yield TaggedOutput(COUNTS, (f"rows/{role}", rows_read))
    for reject in rejects:
        yield TaggedOutput(REJECTS, reject)
        yield TaggedOutput(COUNTS, (f"bad/{reject.table}", 1))


class _JoinDisplays(beam.DoFn):
    """(partition, {role: packed rows}) -> (partition, packed base rows)."""

    def __init__(self, job: FeatureJob):
        self._job = job

    def setup(self) -> None:
        self._ads = Dimension(load(self._job.ads), "ad_id")
        self._documents = Dimension(load(self._job.documents), "document_id") if self._job.documents else None

    def process(self, element: tuple[int, dict[str, Iterable[bytes]]]) -> Iterator[Any]:
        number, packed = element
        tables = {
            role: pa.concat_tables([empty_table(self._job.dataset.table(role)), *map(from_bytes, parts)])
            for role, parts in packed.items()
        }
        found = []
        for role in tables:
            if role != "events":
                joined, rejects = join_displays(tables[role], tables["events"], labelled=role == "clicks_train")
                # A repeated event is one bad row, even where two tables meet the events.
                rejects = [r for r in rejects if r.table == role or role == "clicks_train"]
                yield from _report(role, 0, rejects)
                found.append(base_rows(joined, self._ads, self._documents, self._job.dataset, self._job.split))
        rows = pa.concat_tables(found).combine_chunks()
        for name, count in _describe(rows).items():
            yield TaggedOutput(COUNTS, (name, count))
        if rows.num_rows:
            yield number, to_bytes(rows)


def _describe(rows: pa.Table) -> dict[str, int]:
    """Counts what is worth telling: displays by split and day, and ads that the log does not describe."""
    split, first = rows[SPLIT].to_numpy(), np.diff(rows["display_id"].to_numpy(), prepend=-1) != 0
    days, displays = np.unique(rows["timestamp"].to_numpy()[first] // DAY_MS, return_counts=True)
    counts = {f"displays_on_day/{day}": int(n) for day, n in zip(days, displays, strict=True)}
    for code in np.unique(split).tolist():
        name = SPLIT_NAMES.get(code, "neither")
        counts[f"displays/{name}"] = int((first & (split == code)).sum())
        counts[f"examples/{name}"] = int((split == code).sum())
    counts["join_miss/promoted_content"] = rows["doc_id"].null_count
    return counts


def _ask_history(element: tuple[int, bytes], partitions: int) -> Iterator[tuple[tuple[int, int], bytes]]:
    home, packed = element
    for key, request in history_requests(from_bytes(packed), home, partitions):
        yield key, to_bytes(request)


def _count_as_of(element: tuple[tuple[int, int], Iterable[bytes]], delay_ms: int) -> Iterator[tuple[int, bytes]]:
    (index, _), packed = element
    for home, counts in answer_requests(index, pa.concat_tables(map(from_bytes, packed)), delay_ms):
        yield home, to_bytes(counts)


def _add_history(element: tuple[int, dict[str, Iterable[bytes]]], features: FeaturesConfig) -> tuple[int, bytes]:
    number, packed = element
    (rows,) = packed["rows"]
    counts = [from_bytes(part) for part in packed["counts"]]
    return number, to_bytes(add_history(from_bytes(rows), pa.concat_tables(counts) if counts else None, features))
