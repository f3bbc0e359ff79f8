"""The sections about the model: values in, blocks out."""

from collections.abc import Callable, Iterable, Sequence

from pipeline.report import charts, content
from pipeline.report.blocks import (
    NONE,
    Blocks,
    Figure,
    Note,
    Row,
    Table,
    count,
    duration,
    interval,
    number,
    percent,
    signed,
)
from pipeline.report.content import Absent

_MOST_SLICES = 8
"""Of a column, in the plot."""

_MOST_GROUPS = 20
_FEWEST_DISPLAYS = 30
"""Below, an interval of a slice says nothing, and would stretch the plot."""


def checks(verdict: content.Verdict, report: content.Report) -> Blocks:
    """What the gate and the infra check asked of the model."""
    blocks: Blocks = [_table_of_checks("Checks of the gate", verdict.checks)]
    if verdict.comparison:
        found = verdict.comparison
        at = f", each at {percent(found.confidence, 0)} confidence" if found.confidence else ""
        rows = [
            ("Difference of MAP@12", signed(found.difference.value)),
            (f"Bounds{at}", interval(found.difference, is_difference=True)),
            ("Smallest difference that this eval set can detect", number(found.detectable)),
            ("Displays compared", count(found.displays)),
            ("Bootstrap resamples", count(found.resamples)),
        ]
        blocks.append(
            Table(
                "Paired comparison with the latest blessed model, on the same displays",
                ("Figure", "Value"),
                tuple(rows),
                frozenset({1}),
            )
        )
    if isinstance(report.infra, Absent):
        blocks.append(Note(f"Nothing of an infra check. {report.infra.why}"))
    else:
        blocks.append(_table_of_checks("Infra check: the exported model in a fresh process", report.infra.checks))
    return blocks


def _table_of_checks(caption: str, checks: Sequence[content.Check]) -> Table:
    rows = tuple((check.name, "✓ passed" if check.passed else "✗ failed", check.sentence) for check in checks)
    return Table(caption, ("Check", "Outcome", "Finding"), rows, marked=frozenset(i for i, c in enumerate(checks) if not c.passed))


def ranking(found: content.Evaluation) -> Blocks:
    """MAP@12 and other metrics over all displays."""
    own = found.map_of(content.CANDIDATE)
    rows = tuple(
        (
            r.name,
            number(r.map_at_12.value),
            interval(r.map_at_12),
            NONE if r.is_candidate or own is None else signed(own.value - r.map_at_12.value),
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


def slices(found: content.Slices) -> Blocks:
    """The forest plot of the slices, and all of them."""
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
    shown = _to_plot(found.rows)
    if not shown:
        return [table]
    left_out = len(found.rows) - len(shown)
    about = Table("What the slices are by", ("Column", "What it is"), found.columns, folded=True)
    worse = [row.name for row in shown if row.is_worse]
    label = (
        f"The difference of MAP@12 to {found.reference} in {len(shown)} slices, with intervals. "
        f"Significantly worse: {', '.join(worse) or 'none'}."
    )
    figure = Figure(
        "plot-slices", f"MAP@12 minus that of {found.reference}", label, charts.forest(shown, found.reference).to_dict(), table
    )
    why = (
        f"The plot shows slices of at least {_FEWEST_DISPLAYS} displays, the {_MOST_SLICES} largest by each column, and leaves out "
        f"{left_out}; the table has all."
    )
    return [figure, *([Note(why)] if left_out else []), *([about] if found.columns else [])]


def _to_plot(rows: Sequence[content.Slice]) -> list[content.Slice]:
    """The largest slices by each column, and those that are worse, in their order."""
    large = [row for row in rows if row.difference and (row.displays or 0) >= _FEWEST_DISPLAYS]
    kept = {row.name for row in large if row.is_worse}
    for column in dict.fromkeys(row.column for row in large):
        of_column = sorted((row for row in large if row.column == column), key=lambda row: -(row.displays or 0))
        kept |= {row.name for row in of_column[:_MOST_SLICES]}
    return [row for row in large if row.name in kept]


def training(epochs: Sequence[content.Epoch]) -> Blocks:
    """The curves by epoch."""
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


def calibration(buckets: Sequence[content.Bucket]) -> Blocks:
    """Share of clicks by score."""
    table = Table(
        "Calibration by like scores",
        ("Mean score", "Share clicked", "95 % interval", "Rows"),
        tuple((number(b.predicted), number(b.clicked.value), interval(b.clicked), count(b.rows)) for b in buckets),
        frozenset({1, 2, 3}),
    )
    off = sum(b.clicked.lower is not None and not b.clicked.lower <= b.predicted <= (b.clicked.upper or 1) for b in buckets)
    label = f"Share of clicks by mean score in {len(buckets)} groups of rows; in {off} of them the score is outside of the interval"
    return [Figure("plot-calibration", "Share clicked by score", label, charts.calibration(buckets).to_dict(), table)]


def importance(found: content.Importance) -> Blocks:
    """What the model ranks by."""
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
