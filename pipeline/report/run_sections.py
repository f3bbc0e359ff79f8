"""The sections about the run: its data, artifacts, costs and configuration. Values in, blocks out."""

from collections.abc import Sequence

from pipeline.report import charts, content
from pipeline.report.blocks import (
    NONE,
    Blocks,
    Chain,
    Fact,
    Figure,
    Note,
    Step,
    Table,
    columns_from,
    count,
    duration,
    number,
    percent,
    short,
    size,
)
from pipeline.report.content import Absent

_MOST_DRIFTS = 20


def data(found: content.Statistics) -> Blocks:
    """Statistics of the features, and how far they moved."""
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


def anomalies(found: Sequence[content.Anomaly]) -> Blocks:
    """What is not as the schema says."""
    if not found:
        return [Note("None: every split is as the schema says.")]
    rows = tuple((anomaly.split, anomaly.text) for anomaly in found)
    return [Table("Anomalies", ("Split", "What is wrong"), rows, marked=frozenset(range(len(rows))))]


def lineage(found: content.Lineage, run: content.Run) -> Blocks:
    """The chain from the data to the version."""
    names = {artifact.artifact_id: artifact.role for artifact in (*found.chain, *found.others)}
    if found.blessed_id is not None:
        names[found.blessed_id] = content.BLESSED
    steps = [Step("data", (Fact("digest", found.fingerprint[:16]), Fact("folder", run.data)))] if found.fingerprint else []
    for artifact in found.chain:
        facts = [
            Fact("artifact", str(artifact.artifact_id)),
            Fact("made by", f"{artifact.node}, execution {artifact.execution_id}"),
            Fact("of", ", ".join(f"{names.get(i, 'artifact')} {i}" for i in artifact.sources) or "the data"),
            Fact("path", artifact.path + ("" if artifact.is_there else " (gone)")),
        ]
        if artifact.run_id:
            facts.append(Fact("from the cache", f"made in run {artifact.run_id}"))
        if artifact.role == "version" and run.version_path:
            facts.append(Fact("served from", run.version_path))
        steps.append(Step(artifact.role, tuple(facts), artifact.is_there))
    rows = tuple(
        (a.role, str(a.artifact_id), f"{a.node}, execution {a.execution_id}", a.path + ("" if a.is_there else " (gone)"))
        for a in found.others
    )
    others = Table("Other artifacts of the run", ("Artifact", "Id", "Made by", "Path"), rows, frozenset({1}), folded=True)
    return [Chain(tuple(steps)), *([others] if rows else [])]


def nodes(found: Sequence[content.Node]) -> Blocks:
    """What each node took."""
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


def settings(found: content.Settings) -> Blocks:
    """The configuration and its differences."""
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
