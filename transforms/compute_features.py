"""The Beam pipeline of feature engineering: raw tables in, feature rows out, an Arrow table at a time.

Three meetings, however many features there are: displays meet their events by display_id; then every row's keys meet the click
history of that key while its user meets the page views of that user; the answers return to the row's partition.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsSingleton, PBegin, PCollection, TaggedOutput

from schemas import progress
from schemas.config import FeaturesConfig, IngestConfig, SplitConfig
from schemas.tables import DAY_MS, Dataset
from transforms.asked import NOTHING_ASKED, latest_asked, load_slots, may_matter, slots_of
from transforms.aspects import DocumentAspects, load_aspects
from transforms.base_rows import SPLIT, USER, base_rows, complete_rows
from transforms.blocks import Block, cut_file, parse_block
from transforms.context import platform_code
from transforms.dimensions import Dimension, load, save
from transforms.displays import join_displays
from transforms.history import answer_requests as answer_click_requests
from transforms.history import history_columns, history_requests
from transforms.ingest_report import COUNTS_FILE, REJECTS_FILE, write_counts, write_rejects
from transforms.latent import DocumentVectors, load_vectors
from transforms.parse import Reject, empty_table
from transforms.partition import Parcel, partition_of, receive, scatter, ship
from transforms.sources import Source
from transforms.split import SPLIT_NAMES
from transforms.users import NO_VIEWS, TRAFFIC_ONLY, user_number
from transforms.users import answer_requests as answer_user_requests
from transforms.wanted import all_columns, base_columns, ctr_groups

REJECTS, COUNTS = "rejects", "counts"
_ASKED = "asked"


@dataclass(frozen=True)
class FeatureJob:
    """What one run of feature engineering works on.

    Attributes:
        dataset: The log's description.
        sources: Files of the tables, by role.
        ads: Path of the saved ads dimension.
        documents: Path of the saved documents dimension; None if the log has no such table.
        total_documents: Its rows; 0 without.
        aspects: Paths of the saved document aspects, by aspect name.
        vectors: Path of the saved latent directions of documents; None if no column needs them, or a table they need is absent.
        work: Folder for rows on their way, until the job is done; all workers reach it.
        partitions: How many parts the displays and the keys of each CTR group are cut into.
        user_partitions: How many parts the users are cut into.
        ingest, features: Configuration.
        split: How to split; None makes every labelled row history, for scoring.
        with_test: Whether the displays of clicks_test are computed, too.
        columns: The columns of the feature table to compute.
    """

    dataset: Dataset
    sources: dict[str, Source]
    ads: str
    documents: str | None
    total_documents: int
    aspects: dict[str, str]
    vectors: str | None
    work: str
    partitions: int
    user_partitions: int
    ingest: IngestConfig
    features: FeaturesConfig
    split: SplitConfig | None
    with_test: bool = False
    columns: frozenset[str] = field(default_factory=all_columns)

    def load_aspects(self) -> dict[str, DocumentAspects]:
        """Loads the document aspects, by aspect name; once a process."""
        return {name: load_aspects(path, self.total_documents) for name, path in self.aspects.items()}

    def load_vectors(self) -> DocumentVectors | None:
        """Loads the latent directions of documents, if the job has them; once a process."""
        return load_vectors(self.vectors) if self.vectors else None


class ComputeFeatures(beam.PTransform):
    """Gives {"rows": (partition, parcel of rows: the job's columns and SPLIT), "rejects": Reject, "counts": (name, number)}.

    Every partition's rows come as one element, in the order of display_id and ad_id, whatever the order of the input.
    Counts are not yet summed.
    """

    def __init__(self, job: FeatureJob):
        super().__init__()
        self._job = job

    def expand(self, begin: PBegin) -> Any:
        job = self._job
        roles = ["clicks_train", "events"] + ["clicks_test"] * job.with_test
        by_display = _ByDisplay(job.partitions, job.work)
        outputs = {role: begin | f"Read[{role}]" >> ReadTable(job.sources[role], job.ingest, by_display) for role in roles}
        joined = (
            {role: outputs[role].rows for role in roles}
            | "MeetEvents" >> beam.CoGroupByKey()
            | "JoinDisplays" >> beam.ParDo(_JoinDisplays(job)).with_outputs(REJECTS, COUNTS, _ASKED, main="rows")
        )
        answers = {"rows": joined.rows}
        answers["clicks"] = (
            joined.rows
            | "AskHistory" >> beam.FlatMap(_ask_history, job)
            | "MeetHistory" >> beam.GroupByKey()
            | "CountAsOf" >> beam.FlatMap(_count_as_of, job)
        )
        if "page_views" in job.sources:
            asked = joined[_ASKED] | "CollectAsked" >> beam.combiners.ToList() | "SaveAsked" >> beam.Map(_save_asked, job.work)
            by_user = _ByUser(job.user_partitions, job.work, "traffic_source" in job.columns)
            read = ReadTable(job.sources["page_views"], job.ingest, by_user, AsSingleton(asked))
            outputs["page_views"] = begin | "Read[page_views]" >> read
            requests = joined.rows | "AskUsers" >> beam.FlatMap(_ask_users, job)
            answers["users"] = (
                {"requests": requests, "views": outputs["page_views"].rows}
                | "MeetViews" >> beam.CoGroupByKey()
                | "LookBack" >> beam.FlatMap(_look_back, job)
            )
        done = answers | "ReturnHome" >> beam.CoGroupByKey() | "AddHistory" >> beam.Map(_add_history, job)
        parts = [*outputs.values(), joined]
        return {
            "rows": done,
            REJECTS: [part[REJECTS] for part in parts] | "AllRejects" >> beam.Flatten(),
            COUNTS: [part[COUNTS] for part in parts] | "AllCounts" >> beam.Flatten(),
        }


def write_ingest_report(
    out: dict[str, PCollection], job: FeatureJob, rejects: list[Reject], counts: list[tuple[str, int]], folder: str
) -> None:
    """Makes the pipeline write what reading came to: `COUNTS_FILE` and `REJECTS_FILE`.

    Args:
        out: What `ComputeFeatures` gave.
        job: What it works on.
        rejects, counts: Those of the tables that `feature_job.plan` read.
        folder: Where the two files go.
    """
    files = {role: tuple(file.name for file in source.files) for role, source in job.sources.items()}
    for name, write, known, file in (
        (REJECTS, partial(write_rejects, files=files), rejects, REJECTS_FILE),
        (COUNTS, write_counts, counts, COUNTS_FILE),
    ):
        found = out[name] | f"Collect[{name}]" >> beam.combiners.ToList()
        _ = found | f"Write[{name}]" >> beam.Map(_write_all, write, known, FileSystems.join(folder, file))


def _write_all(found: list[Any], write: Callable[[list[Any], str], None], known: list[Any], path: str) -> None:
    write([*known, *found], path)


_Scatter = Callable[..., Iterator[tuple[int, Parcel]]]


class ReadTable(beam.PTransform):
    """Reads one table's files into what `scatter_rows` makes of its rows and of `sides`, with its rejects and counts beside."""

    def __init__(self, source: Source, ingest: IngestConfig, scatter_rows: _Scatter, *sides: AsSingleton):
        super().__init__()
        self._source, self._ingest, self._scatter_rows, self._sides = source, ingest, scatter_rows, sides

    def expand(self, begin: PBegin) -> Any:
        return (
            begin
            | beam.Create(self._source.files)
            | "Cut" >> beam.FlatMap(cut_file, self._ingest.block_bytes)
            | beam.Reshuffle()
            | "Parse"
            >> beam.FlatMap(_parse_block, self._source, self._scatter_rows, *self._sides).with_outputs(REJECTS, COUNTS, main="rows")
        )


@dataclass(frozen=True)
class _ByDisplay:
    """Gives (partition of display_id, parcel of rows)."""

    partitions: int
    work: str

    def __call__(self, rows: pa.Table) -> Iterator[tuple[int, Parcel]]:
        for number, part in scatter(rows, partition_of(rows["display_id"].to_numpy(), self.partitions)):
            yield number, ship(part, self.work)


@dataclass(frozen=True)
class _ByUser:
    """Gives (partition of the user, parcel of page views), of those alone that the slots saved at `asked` let through."""

    partitions: int
    work: str
    with_traffic: bool

    def __call__(self, rows: pa.Table, asked: str) -> Iterator[tuple[int, Parcel]]:
        user = user_number(rows["uuid"])
        matters = may_matter(load_slots(asked), user, rows["timestamp"].to_numpy())
        rows = rows.filter(pa.array(matters))
        columns = {
            "user": pa.array(user[matters]),
            "document_id": rows["document_id"].cast(pa.int64()),
            "timestamp": rows["timestamp"],
        }
        if self.with_traffic:
            columns["platform"] = platform_code(rows["platform"])
            columns["geo_location"] = rows["geo_location"]
            columns["traffic_source"] = pc.cast(pc.subtract(rows["traffic_source"], 1), pa.int64())
        views = pa.table(columns)
        for number, part in scatter(views, partition_of(views["user"].to_numpy(), self.partitions)):
            yield number, ship(part, self.work)


def _save_asked(asked: list[Parcel], work: str) -> str:
    slots = slots_of(pa.concat_tables([NOTHING_ASKED, *map(receive, asked)]))
    path = FileSystems.join(work, f"asked-{uuid.uuid4().hex}.arrow")  # a name of its own, should a runner do this twice
    save(pa.table({"slots": slots}), path)
    return path


def _parse_block(block: Block, source: Source, scatter_rows: _Scatter, *sides: Any) -> Iterator[Any]:
    progress.advance(f"read {source.table.role}", block.length, source.text_bytes)
    rows, rejects = parse_block(block, source.table)
    yield from _report(source.table.role, rows.num_rows + len(rejects), rejects)
    yield from scatter_rows(rows, *sides)


def _report(role: str, rows_read: int, rejects: list[Reject]) -> Iterator[TaggedOutput]:
    if rows_read:
        yield TaggedOutput(COUNTS, (f"rows/{role}", rows_read))
    for reject in rejects:
        yield TaggedOutput(REJECTS, reject)
        yield TaggedOutput(COUNTS, (f"bad/{reject.table}", 1))


class _JoinDisplays(beam.DoFn):
    """(partition, {role: parcels of rows}) -> (partition, parcel of base rows)."""

    def __init__(self, job: FeatureJob):
        self._job = job

    def setup(self) -> None:
        self._ads = Dimension(load(self._job.ads), "ad_id")
        self._documents = Dimension(load(self._job.documents), "document_id") if self._job.documents else None
        self._aspects = self._job.load_aspects()
        self._vectors = self._job.load_vectors()
        self._wanted = base_columns(self._job.columns)
        if "page_views" in self._job.sources:
            self._wanted |= set(_asked_of_users(self._job))

    def process(self, element: tuple[int, dict[str, Iterable[Parcel]]]) -> Iterator[Any]:
        number, packed = element
        tables = {
            role: pa.concat_tables([empty_table(self._job.dataset.table(role)), *map(receive, parts)])
            for role, parts in packed.items()
        }
        found = []
        for role in tables:
            if role != "events":
                joined, rejects = join_displays(tables[role], tables["events"], labelled=role == "clicks_train")
                # A repeated event is one bad row, even where two tables meet the events.
                rejects = [r for r in rejects if r.table == role or role == "clicks_train"]
                yield from _report(role, 0, rejects)
                dimensions = (self._ads, self._documents, self._aspects, self._vectors)
                found.append(base_rows(joined, *dimensions, self._job.dataset, self._job.split, self._wanted))
        rows = pa.concat_tables(found).combine_chunks()
        for name, count in _describe(rows).items():
            yield TaggedOutput(COUNTS, (name, count))
        if rows.num_rows:
            if "page_views" in self._job.sources:
                first = _is_new_display(rows)
                user, timestamp = rows[USER].to_numpy()[first], rows["timestamp"].to_numpy()[first]
                asked = latest_asked(user, timestamp, see_all=self._job.features.history == "all")
                yield TaggedOutput(_ASKED, ship(asked, self._job.work))
            yield number, ship(rows, self._job.work)


def _describe(rows: pa.Table) -> dict[str, int]:
    """Counts what is worth telling: displays by split and day, and ads that the log does not describe."""
    split, first = rows[SPLIT].to_numpy(), _is_new_display(rows)
    days, displays = np.unique(rows["timestamp"].to_numpy()[first] // DAY_MS, return_counts=True)
    counts = {f"displays_on_day/{day}": int(n) for day, n in zip(days, displays, strict=True)}
    for code in np.unique(split).tolist():
        name = SPLIT_NAMES.get(code, "neither")
        counts[f"displays/{name}"] = int((first & (split == code)).sum())
        counts[f"examples/{name}"] = int((split == code).sum())
    counts["join_miss/promoted_content"] = rows["doc_id"].null_count
    return counts


def _is_new_display(rows: pa.Table) -> np.ndarray:
    """Whether a row is its display's first, (n,) bool; the rows of a display are together."""
    return np.diff(rows["display_id"].to_numpy(), prepend=-1) != 0


def _ask_history(element: tuple[int, Parcel], job: FeatureJob) -> Iterator[tuple[tuple[int, int], Parcel]]:
    home, packed = element
    for key, request in history_requests(receive(packed), home, job.partitions, job.load_aspects(), job.columns):
        yield key, ship(request, job.work)


def _count_as_of(element: tuple[tuple[int, int], Iterable[Parcel]], job: FeatureJob) -> Iterator[tuple[int, Parcel]]:
    (index, _), packed = element
    progress.advance("count clicks", 1, len(ctr_groups(job.columns)) * job.partitions)
    for home, counts in answer_click_requests(index, pa.concat_tables(map(receive, packed)), job.features):
        yield home, ship(counts, job.work)


def _asked_of_users(job: FeatureJob) -> list[str]:
    traffic = ["doc_event_id", "event_platform", "event_geo_location"] if "traffic_source" in job.columns else []
    return ["display_id", "timestamp", "doc_id", *traffic]


def _ask_users(element: tuple[int, Parcel], job: FeatureJob) -> Iterator[tuple[int, Parcel]]:
    home, packed = element
    rows = receive(packed)
    user = rows[USER].to_numpy()
    requests = rows.select(_asked_of_users(job))
    requests = requests.append_column("home", pa.array(np.full(rows.num_rows, home, np.int32)))
    requests = requests.append_column("row", pa.array(np.arange(rows.num_rows, dtype=np.int32)))
    requests = requests.append_column("user", pa.array(user))
    for number, part in scatter(requests, partition_of(user, job.user_partitions)):
        yield number, ship(part, job.work)


def _look_back(element: tuple[int, dict[str, Iterable[Any]]], job: FeatureJob) -> Iterator[tuple[int, Parcel]]:
    _, packed = element
    requests = [receive(part) for part in packed["requests"]]
    if not requests:
        return
    none = NO_VIEWS if "traffic_source" in job.columns else NO_VIEWS.drop_columns(list(TRAFFIC_ONLY))
    views = pa.concat_tables([none, *map(receive, packed["views"])])
    answers = answer_user_requests(
        pa.concat_tables(requests),
        views,
        job.load_aspects(),
        job.load_vectors(),
        job.features.delay_ms,
        job.features.history == "all",
        job.columns,
    )
    for home, part in scatter(answers.drop_columns(["home"]), answers["home"].to_numpy()):
        yield home, ship(part, job.work)


def _add_history(element: tuple[int, dict[str, Iterable[Parcel]]], job: FeatureJob) -> tuple[int, Parcel]:
    number, packed = element
    progress.advance("finish rows", 1, job.partitions)
    rows = receive(next(iter(packed["rows"])))
    clicks = [receive(part) for part in packed["clicks"]]
    columns = history_columns(rows, pa.concat_tables(clicks) if clicks else None, job.features, job.columns)
    if users := [receive(part) for part in packed.get("users", ())]:
        answers = pa.concat_tables(users).sort_by("row").drop_columns(["row"])
        columns |= {name: answers[name] for name in answers.column_names}
    return number, ship(complete_rows(rows, columns, job.columns), job.work)
