"""A report -> the sections of its page, in their order. Each function is pure: values in, blocks out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from pipeline.report import charts, content
from pipeline.report.blocks import (
    NONE,
    Chain,
    Fact,
    Figure,
    Note,
    Row,
    Section,
    Step,
    Table,
    columns_from,
    count,
    duration,
    interval,
    number,
    percent,
    short,
    signed,
    size,
)
from pipeline.report.content import Absent

T = TypeVar("T")
Blocks = list[Table | Figure | Row | Note | Chain]

_MOST_SLICES = 40
_MOST_GROUPS = 20
_MOST_DRIFTS = 20
_FEWEST_DISPLAYS = 30
"""Below, an interval of a slice says nothing, and would stretch the plot."""


def sections(report: content.Report) -> tuple[Section, ...]:
    """Returns all sections below the verdict."""
    made = (
        _section("checks", "Checks", "What the gate asked of the model, and what it found.", report.verdict, _checks, report),
        _section(
            "ranking",
            "MAP@12 beside the baselines",
            "All rankings are of the same eval displays. Lines are 95 % intervals, over displays.",
            report.evaluation,
            _ranking,
        ),
        _section("slices", "Slices", "Where the model is better, and where it is not.", report.slices, _slices),
        _section("training", "Training", "By epoch; the weights of the best eval MAP@12 are exported.", report.epochs, _training),
        _section(
            "calibration",
            "Calibration",
            "Whether a score is a click probability: of the rows with like scores, the share that was clicked.",
            report.calibration,
            _calibration,
        ),
        _section("importance", "Feature importance", "What the model ranks by.", report.importance, _importance),
        _section("data", "Features and drift", "What the model was trained on, and how far it moved.", report.statistics, _data),
        _section("anomalies", "Anomalies", "Where the data is not as its schema says.", report.anomalies, _anomalies),
        _section(
            "lineage",
            "Lineage",
            "What was made of what, from the metadata store. Paths are relative to the root.",
            report.lineage,
            _lineage,
        ),
        _section("nodes", "Time, CPU and memory", "What each node of the run took.", report.nodes, _nodes),
        _section(
            "configuration", "Configuration", "What was set, and what differs from the blessed run.", report.settings, _settings
        ),
    )
    return made


def _section(key: str, title: str, lead: str, part: T | Absent, make: Callable[..., Blocks], *more: Any) -> Section:
    if isinstance(part, Absent):
        return Section(key, title, lead, absent=part.why)
    return Section(key, title, lead, tuple(make(part, *more)))


def _checks(verdict: content.Verdict, report: content.Report) -> Blocks:
    blocks: Blocks = [_table_of_checks("Checks of the gate", verdict.checks)]
    if verdict.comparison:
        found = verdict.comparison
        at = f" at {percent(found.confidence, 0)} confidence" if found.confidence else ""
        rows = [
            ("Difference of MAP@12", signed(found.difference.value)),
            (f"Interval{at}", interval(found.difference, is_difference=True)),
            ("Smallest difference that this eval set can detect", number(found.detectable)),
            ("Displays compared", count(found.displays)),
            ("Bootstrap resamples", count(found.resamples)),
        ]
        blocks.append(
            Table(
                "Paired comparison with the latest blessed model, on the same displays", ("", "Value"), tuple(rows), frozenset({1})
            )
        )
    if isinstance(report.infra, Absent):
        blocks.append(Note(f"Nothing of an infra check. {report.infra.why}"))
    else:
        infra = report.infra
        blocks.append(_table_of_checks("Infra check: the exported model in a fresh process", infra.checks))
        blocks.append(
            Note(
                f"Latency of one display: median {short(infra.p50_ms)} ms, 99th percentile {short(infra.p99_ms)} ms. "
                f"Size of the model: {size(infra.size_bytes)}."
            )
        )
    return blocks


def _table_of_checks(caption: str, checks: Sequence[content.Check]) -> Table:
    rows = tuple((check.name, "✓ passed" if check.passed else "✗ failed", check.sentence) for check in checks)
    return Table(caption, ("Check", "Outcome", "Finding"), rows, marked=frozenset(i for i, c in enumerate(checks) if not c.passed))


def _ranking(found: content.Evaluation) -> Blocks:
    own = next((r.map_at_12.value for r in found.rankings if r.is_candidate), None)
    rows = tuple(
        (
            r.name,
            number(r.map_at_12.value),
            interval(r.map_at_12),
            NONE if r.is_candidate or own is None else signed(own - r.map_at_12.value),
            r.about,
        )
        for r in sorted(found.rankings, key=lambda r: -r.map_at_12.value)
    )
    blocks: Blocks = []
    if found.rankings:
        blocks.append(
            Figure(
                "plot-ranking",
                f"MAP@12 over {count(found.displays)} eval displays",
                "MAP@12 of each ranking with its interval: " + ", ".join(f"{row[0]} {row[1]}" for row in rows),
                charts.rankings(found.rankings).to_dict(),
                Table(
                    "MAP@12 by ranking",
                    ("Ranking", "MAP@12", "95 % interval", "This model minus it", "How it ranks"),
                    rows,
                    frozenset({1, 2, 3}),
                    frozenset(i for i, row in enumerate(rows) if row[3] == NONE),
                ),
            )
        )
    with_blessed = any(metric.blessed is not None for metric in found.metrics)
    columns = ("Metric", "This model", *(("Blessed model",) if with_blessed else ()), "What it is")
    metrics = tuple((m.name, number(m.value), *((number(m.blessed),) if with_blessed else ()), m.about) for m in found.metrics)
    if metrics:
        blocks.append(Table("Other metrics over the same displays", columns, metrics, frozenset({1, 2} if with_blessed else {1})))
    return blocks


def _slices(found: content.Slices) -> Blocks:
    rows = tuple(
        (
            row.name,
            count(row.displays),
            number(row.map_at_12.value),
            interval(row.map_at_12),
            signed(row.difference.value) if row.difference else NONE,
            interval(row.difference, is_difference=True),
            number(row.adjusted_p_value, 3),
            "▼ worse" if row.is_worse else "",
        )
        for row in found.rows
    )
    columns = ("Slice", "Displays", "MAP@12", "95 % interval", f"Minus {found.reference}", "Interval", "Adjusted p", "Verdict")
    table = Table(
        "MAP@12 by slice",
        columns,
        rows,
        frozenset(range(1, 7)),
        frozenset(i for i, row in enumerate(found.rows) if row.is_worse),
    )
    large = [row for row in found.rows if row.difference and (row.displays or 0) >= _FEWEST_DISPLAYS]
    largest = {row.name for row in sorted(large, key=lambda r: (not r.is_worse, -(r.displays or 0)))[:_MOST_SLICES]}
    shown = [row for row in large if row.name in largest]
    if not shown:
        return [table]
    left_out = len(found.rows) - len(shown)
    worse = [row.name for row in shown if row.is_worse]
    label = (
        f"The difference of MAP@12 to {found.reference} in {len(shown)} slices, with intervals. "
        f"Significantly worse: {', '.join(worse) or 'none'}."
    )
    figure = Figure(
        "plot-slices", f"MAP@12 minus that of {found.reference}", label, charts.forest(shown, found.reference).to_dict(), table
    )
    why = f"The plot leaves out {left_out} slices, those of fewer than {_FEWEST_DISPLAYS} displays first; the table has all."
    return [figure, *([Note(why)] if left_out else [])]


def _training(epochs: Sequence[content.Epoch]) -> Blocks:
    if not epochs:
        return [Note("No epoch was finished.")]
    table = Table(
        "Training by epoch",
        ("Epoch", "Train loss", "Eval log loss", "MAP@12", "NDCG@12", "AUC", "Calibration", "Time"),
        tuple(
            (
                str(e.epoch),
                number(e.train_loss),
                number(e.log_loss),
                number(e.map_at_12),
                number(e.ndcg_at_12),
                number(e.auc),
                number(e.calibration),
                duration(e.seconds),
            )
            for e in epochs
        ),
        frozenset(range(1, 8)),
        folded=True,
    )
    curves: tuple[tuple[str, str, Callable[[Iterable[float]], float]], ...] = (
        ("map_at_12", "Eval MAP@12", max),
        ("log_loss", "Eval log loss", min),
        ("train_loss", "Train loss", min),
    )
    figures = []
    for name, title, best in curves:
        values = [getattr(e, name) for e in epochs if getattr(e, name) is not None]
        if values:
            label = f"{title} by epoch, from {number(values[0])} to {number(values[-1])}, the best {number(best(values))}"
            figures.append(Figure(f"plot-{name}", title, label, charts.by_epoch(epochs, name, best).to_dict(), None))
    return [Row(tuple(figures)), table]


def _calibration(buckets: Sequence[content.Bucket]) -> Blocks:
    table = Table(
        "Calibration by like scores",
        ("Mean score", "Share clicked", "95 % interval", "Rows"),
        tuple((number(b.predicted), number(b.clicked.value), interval(b.clicked), count(b.rows)) for b in buckets),
        frozenset({1, 2, 3}),
    )
    off = sum(b.clicked.lower is not None and not b.clicked.lower <= b.predicted <= (b.clicked.upper or 1) for b in buckets)
    label = f"Share of clicks by mean score in {len(buckets)} groups of rows; in {off} of them the score is outside of the interval"
    return [Figure("plot-calibration", "Share clicked by score", label, charts.calibration(buckets).to_dict(), table)]


def _importance(found: content.Importance) -> Blocks:
    shown = found.groups[:_MOST_GROUPS]
    table = Table(
        "Fall of MAP@12 by permuted features",
        ("Features", "Fall of MAP@12", "95 % interval", "Permuted together"),
        tuple((g.name, signed(g.drop.value), interval(g.drop, is_difference=True), ", ".join(g.features)) for g in found.groups),
        frozenset({1, 2}),
    )
    how = (
        f"Measured on {count(found.displays)} of {count(found.of_displays)} eval displays, where MAP@12 is "
        f"{number(found.map_at_12)}: the values of a feature are dealt out anew, those of an ad among all rows, those of a display "
        f"among the displays, {found.repeats} times. Features that say the same thing are permuted together. Two groups that can "
        "stand in for each other both look unimportant."
    )
    label = "Fall of MAP@12 when features are permuted, largest first: " + ", ".join(
        f"{g.name} {signed(g.drop.value)}" for g in shown[:5]
    )
    title = f"The {len(shown)} most important of {len(found.groups)}" if len(shown) < len(found.groups) else "By fall of MAP@12"
    return [Note(how), Figure("plot-importance", title, label, charts.importance(shown).to_dict(), table)]


def _data(found: content.Statistics) -> Blocks:
    since = "shift" if found.drift else "drift"
    what = "from the train split to the eval split" if found.drift else "since the blessed run's train split"
    distance = {f.name: getattr(f, since) for f in found.features}
    moved = sorted((f for f in found.features if distance[f.name] is not None), key=lambda f: -distance[f.name])
    over = [f.name for f in moved if distance[f.name] > found.threshold]
    columns = (
        "Column",
        "Missing",
        "Mean or distinct",
        "Deviation or most frequent",
        "Smallest",
        "Median",
        "Largest",
        "Drift",
        "Train to eval",
    )
    table = Table(
        "Columns of the feature table, train split",
        columns,
        tuple(_feature_row(f, found.threshold) for f in found.features),
        columns_from(1, columns),
        frozenset(i for i, f in enumerate(found.features) if distance[f.name] is not None and distance[f.name] > found.threshold),
        folded=True,
    )
    blocks: Blocks = [Note(f"{count(found.train_rows)} rows train, {count(found.eval_rows)} rows evaluate.")]
    if found.drift:
        blocks.append(Note(f"{found.drift.why} Shown instead is how far the eval split is from the train split."))
    if not moved:
        return [*blocks, table]
    label = (
        f"Distance of the distributions {what}, largest first: "
        + ", ".join(f"{f.name} {number(distance[f.name], 3)}" for f in moved[:5])
        + f". Above {found.threshold:g}: {', '.join(over) or 'none'}."
    )
    blocks.append(
        Figure(
            "plot-drift",
            f"How far distributions moved {what}",
            label,
            charts.drift(moved[:_MOST_DRIFTS], found.threshold, since).to_dict(),
            table,
        )
    )
    marked = f"{len(over)} of {len(moved)} are above {found.threshold:g}" + (f": {', '.join(over)}." if over else ".")
    blocks.append(
        Note(
            "The distance is the L-infinity distance of the shares of values for text, and the Jensen-Shannon divergence for "
            f"numbers, ids included, as TFDV computes them. {marked}"
        )
    )
    return blocks


def _feature_row(f: content.FeatureStats, threshold: float) -> tuple[str, ...]:
    if f.kind == "number":
        middle: tuple[str, ...] = (short(f.mean), short(f.deviation), short(f.smallest), short(f.median), short(f.largest))
    else:
        middle = (count(f.distinct), f.top or NONE, NONE, NONE, NONE)
    return (f.name, percent(f.missing), *middle, _moved(f.drift, threshold), _moved(f.shift, threshold))


def _moved(value: float | None, threshold: float) -> str:
    return number(value, 3) + (" ▲" if value is not None and value > threshold else "")


def _anomalies(found: Sequence[content.Anomaly]) -> Blocks:
    if not found:
        return [Note("None: every split is as the schema says.")]
    rows = tuple((anomaly.split, anomaly.text) for anomaly in found)
    return [Table("Anomalies", ("Split", "What is wrong"), rows, marked=frozenset(range(len(rows))))]


def _lineage(found: content.Lineage) -> Blocks:
    names = {artifact.artifact_id: artifact.role for artifact in (*found.chain, *found.others)}
    steps = [Step("data", (Fact("digest", found.fingerprint[:16]),))] if found.fingerprint else []
    for artifact in found.chain:
        facts = [
            Fact("artifact", str(artifact.artifact_id)),
            Fact("made by", f"{artifact.node}, execution {artifact.execution_id}"),
            Fact("of", ", ".join(f"{names.get(i, 'artifact')} {i}" for i in artifact.sources) or "the data"),
            Fact("path", artifact.path + ("" if artifact.is_there else " (gone)")),
        ]
        if artifact.run_id:
            facts.append(Fact("from the cache", f"made in run {artifact.run_id}"))
        steps.append(Step(artifact.role, tuple(facts), artifact.is_there))
    rows = tuple(
        (a.role, str(a.artifact_id), f"{a.node}, execution {a.execution_id}", a.path + ("" if a.is_there else " (gone)"))
        for a in found.others
    )
    others = Table("Other artifacts of the run", ("Artifact", "Id", "Made by", "Path"), rows, frozenset({1}), folded=True)
    return [Chain(tuple(steps)), *([others] if rows else [])]


def _nodes(found: Sequence[content.Node]) -> Blocks:
    rows = tuple(
        (
            node.name,
            f"✗ failed: {node.error}" if node.state == "failed" else node.state,
            duration(node.seconds),
            duration(node.cpu_seconds),
            size(node.peak_rss_bytes) if node.peak_rss_bytes else NONE,
        )
        for node in found
    )
    table = Table(
        "What each node took",
        ("Node", "State", "Time", "CPU time", "Peak memory"),
        rows,
        frozenset({2, 3, 4}),
        frozenset(i for i, node in enumerate(found) if node.state == "failed"),
    )
    label = "Time by node: " + ", ".join(f"{node.name} {duration(node.seconds)}" for node in found)
    blocks: Blocks = [Figure("plot-nodes", "Time by node", label, charts.nodes(found).to_dict(), table)]
    if any(node.cpu_seconds is not None for node in found):
        blocks.append(
            Note(
                "CPU time is that of all processes of the run. Memory is the largest sum over them, looked at four times a second."
            )
        )
    else:
        blocks.append(Note("CPU time and memory of this run were not recorded; times are those of the metadata store."))
    return blocks


def _settings(found: content.Settings) -> Blocks:
    blocks: Blocks = []
    if isinstance(found.from_blessed, Absent):
        blocks.append(Note(found.from_blessed.why))
    elif found.from_blessed:
        blocks.append(_changes("Different from the blessed run", "Blessed run", found.from_blessed))
    else:
        blocks.append(Note("The same as the blessed run's."))
    if found.from_default:
        blocks.append(_changes("Different from the defaults", "Default", found.from_default))
    rows = tuple(found.values.items())
    blocks.append(Table("The whole configuration", ("Key", "Value"), rows, folded=True))
    return blocks


def _changes(caption: str, before: str, changes: Sequence[content.Changed]) -> Table:
    return Table(caption, ("Key", before, "This run"), tuple((c.key, c.before, c.now) for c in changes))
