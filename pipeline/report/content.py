"""What a report says, as plain values: `gather` makes it, `page` shows it, and neither knows of the other.

Any part may be an `Absent`, which says why; the page then shows the reason in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Absent:
    """Says why a part is not there, as a sentence."""

    why: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the bounds of its 95 % interval, None where there is none."""

    value: float
    lower: float | None = None
    upper: float | None = None


RANDOM, POPULARITY, BEST_FEATURE = "random", "popularity", "best single feature"
BLESSED, CANDIDATE, BEST_POSSIBLE = "blessed model", "this model", "best possible"
"""What rankings are called."""

RunState = Literal["finished", "failed", "unfinished"]


@dataclass(frozen=True, slots=True)
class Run:
    """Which run this is.

    Attributes:
        run_id: Its id.
        root: Folder of the runs.
        data: Folder of the raw tables, "" if unknown.
        started: Seconds since 1970, None if unknown.
        seconds: How long it took, None unless it finished.
        state: How it ended.
        note: What a run that did not finish came to, in a sentence.
        blessed_run: Id of the run whose model was the latest blessed one when this run was judged; None if there was none.
        version: The pushed version, None if nothing was pushed.
        version_path: Where it is, relative to the root if it is below.
        not_pushed: Why nothing was, if the push itself refused.
    """

    run_id: str
    root: str
    data: str = ""
    started: float | None = None
    seconds: float | None = None
    state: RunState = "finished"
    note: str = ""
    blessed_run: str | None = None
    version: int | None = None
    version_path: str = ""
    not_pushed: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of the gate or of the infra check."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The paired comparison with the latest blessed model, on the same displays.

    Its bounds are the gate's, not those of a 95 % interval.

    Attributes:
        difference: Of MAP@12, with its bounds at `confidence`.
        confidence: With which each bound holds by itself, 0 to 1.
        detectable: The smallest difference that this eval set can detect.
        displays: Compared.
        resamples: Of the bootstrap.
    """

    difference: Estimate
    confidence: float | None = None
    detectable: float | None = None
    displays: int | None = None
    resamples: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided."""

    blessed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Infra:
    """What the infra check found; milliseconds to score one display, None if the model was not asked."""

    passed: bool
    checks: tuple[Check, ...]
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """MAP@12 of one way to rank the eval displays."""

    name: str
    about: str
    map_at_12: Estimate

    @property
    def is_candidate(self) -> bool:
        """Whether it is the model of this run."""
        return self.name == CANDIDATE


@dataclass(frozen=True, slots=True)
class Metric:
    """An overall metric of the model, and of the latest blessed one where there is one."""

    name: str
    about: str
    value: float | None
    blessed: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All eval displays together.

    Attributes:
        displays: With a click.
        rankings: Of MAP@12.
        metrics: Others.
    """

    displays: int
    rankings: tuple[Ranking, ...]
    metrics: tuple[Metric, ...]

    def map_of(self, name: str) -> Estimate | None:
        """MAP@12 of the ranking of that name, None if it is not there."""
        return next((ranking.map_at_12 for ranking in self.rankings if ranking.name == name), None)


@dataclass(frozen=True, slots=True)
class Slice:
    """The displays of one slice.

    Attributes:
        column: What it is by, such as `event_platform`.
        value: Of that.
        meaning: Of the value, "" if it speaks for itself.
        displays: With a click; None if unknown.
        map_at_12: Of the model.
        popularity: MAP@12 of the popularity ranking.
        difference: Of MAP@12 to the reference (`Slices.reference`).
        adjusted_p_value: That it is not worse than the reference, after Benjamini and Hochberg; None if it was not tested.
        is_worse: Whether the gate found it significantly worse.
    """

    column: str
    value: str
    meaning: str
    displays: int | None
    map_at_12: Estimate
    popularity: float | None = None
    difference: Estimate | None = None
    adjusted_p_value: float | None = None
    is_worse: bool = False

    @property
    def name(self) -> str:
        """Column and value."""
        return f"{self.column} = {self.value}" + (f" ({self.meaning})" if self.meaning else "")

    @property
    def label(self) -> str:
        """The same for a plot, which may cut its end off."""
        return f"{self.meaning or self.value} · {self.column}"


@dataclass(frozen=True, slots=True)
class Slices:
    """All slices, what their differences are to, and what each column is."""

    reference: str
    rows: tuple[Slice, ...]
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch of training came to; None where it was not evaluated."""

    epoch: int
    train_loss: float | None
    log_loss: float | None = None
    map_at_12: float | None = None
    ndcg_at_12: float | None = None
    auc: float | None = None
    calibration: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """Eval rows of like scores: their mean score, and the share that was clicked."""

    rows: float
    predicted: float
    clicked: Estimate


@dataclass(frozen=True, slots=True)
class Group:
    """The importance of features that say the same thing: how much MAP@12 falls when they are permuted together."""

    name: str
    features: tuple[str, ...]
    drop: Estimate


@dataclass(frozen=True, slots=True)
class Importance:
    """The importance of all groups, falling."""

    groups: tuple[Group, ...]
    displays: int
    of_displays: int
    repeats: int
    map_at_12: float


@dataclass(frozen=True, slots=True)
class FeatureStats:
    """One column of the feature table over the train split.

    Attributes:
        name: The column.
        kind: `number`, or `text`.
        missing: Share of rows without it.
        mean, deviation, smallest, median, largest: Of a number.
        distinct: Of a text; how many values.
        top: Of a text; the most frequent value.
        drift: From the train split of the blessed run: L-infinity distance of a text, Jensen-Shannon divergence of a number.
        shift: The same from the train split of this run to its eval split.
    """

    name: str
    kind: Literal["number", "text"]
    missing: float
    mean: float | None = None
    deviation: float | None = None
    smallest: float | None = None
    median: float | None = None
    largest: float | None = None
    distinct: int | None = None
    top: str | None = None
    drift: float | None = None
    shift: float | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of all columns.

    Attributes:
        train_rows, eval_rows: Rows of the splits.
        features: By name.
        drift: None if drift was measured, else why not.
        threshold: From where on a drift is marked.
    """

    train_rows: int
    eval_rows: int
    features: tuple[FeatureStats, ...]
    drift: Absent | None
    threshold: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What ExampleValidator found wrong."""

    split: str
    text: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A thing that a node made.

    Attributes:
        artifact_id: In the metadata store.
        role: What it is in the chain: examples, transform, records, model, ...
        path: Relative to the root.
        node: What made it.
        execution_id: When it did so.
        sources: Ids of the artifacts that it was made of.
        is_there: Whether its folder is.
        run_id: The run that made it, if another than this.
    """

    artifact_id: int
    role: str
    path: str
    node: str
    execution_id: int
    sources: tuple[int, ...]
    is_there: bool
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """From the data to the pushed version.

    Attributes:
        fingerprint: Digest of the raw tables.
        chain: The artifacts that lead to the version, in order.
        others: All others of the run.
        blessed_id: Of the latest blessed model, which the evaluation is made of, too; None if there was none.
    """

    fingerprint: str
    chain: tuple[Artifact, ...]
    others: tuple[Artifact, ...]
    blessed_id: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """What a node took; None where it was not measured."""

    name: str
    state: str
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A key of the configuration whose value differs."""

    key: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration.

    Attributes:
        values: Key -> value, as YAML.
        from_default: Keys that differ from the defaults.
        from_blessed: Keys that differ from the blessed run's.
    """

    values: Mapping[str, str]
    from_default: tuple[Changed, ...]
    from_blessed: tuple[Changed, ...] | Absent


@dataclass(frozen=True, slots=True)
class Report:
    """All of it, in the order of the page."""

    run: Run
    verdict: Verdict | Absent
    infra: Infra | Absent
    evaluation: Evaluation | Absent
    slices: Slices | Absent
    epochs: tuple[Epoch, ...] | Absent
    calibration: tuple[Bucket, ...] | Absent
    importance: Importance | Absent
    statistics: Statistics | Absent
    anomalies: tuple[Anomaly, ...] | Absent
    lineage: Lineage | Absent
    nodes: tuple[Node, ...] | Absent
    settings: Settings | Absent


def present(part: T | Absent) -> T | None:
    """Returns a part, None if it is absent."""
    return None if isinstance(part, Absent) else part
