"""Plain values -> plots. Colours are CSS variables of the page, so that a plot follows its light, dark and print styles."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import altair as alt

from pipeline.report.content import Bucket, Epoch, Estimate, FeatureStats, Group, Node, Ranking, Slice

Chart: TypeAlias = alt.LayerChart | alt.FacetChart
"""What Altair calls what `alt.layer` gives."""

ACCENT, QUIET, WARN, INK, RULE = "var(--accent)", "var(--quiet)", "var(--warn)", "var(--ink)", "var(--rule)"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": _FONT,
    "aria": False,  # the page names the plot, and has its numbers in a table
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "titleFontWeight": "normal",
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titlePadding": 8,
        "labelOverlap": True,
    },
    "axisY": {"domain": False, "ticks": False, "labelPadding": 8},
    "legend": {
        "orient": "top",
        "direction": "horizontal",
        "title": None,
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "symbolStrokeWidth": 2,
        "labelLimit": 260,
        "columns": 2,
        "padding": 0,
        "offset": 8,
    },
    "rule": {"strokeWidth": 2},
}
"""Of all plots."""


def rankings(rows: Sequence[Ranking]) -> Chart:
    """MAP@12 of each way to rank, with its interval; the model of this run is a filled diamond, the others are circles."""
    values = [{"name": r.name, **_estimate(r.map_at_12), "text": f"{r.map_at_12.value:.4f}", "own": r.is_candidate} for r in rows]
    order = [r.name for r in sorted(rows, key=lambda r: r.map_at_12.value)]
    own = alt.datum.own == True  # noqa: E712 - becomes an expression of the plot's
    base = alt.Chart(_data(values)).encode(y=alt.Y("name:N", sort=order, title=None))
    x = alt.X("value:Q", title="MAP@12").scale(zero=False, padding=24, nice=False)
    color = alt.condition(own, alt.value(ACCENT), alt.value(QUIET))
    return alt.layer(
        base.mark_rule().encode(x=alt.X("lower:Q", title="MAP@12"), x2="upper:Q", color=color),
        base.mark_point(filled=True, opacity=1).encode(
            x=x,
            color=color,
            shape=alt.condition(own, alt.value("diamond"), alt.value("circle")),
            size=alt.condition(own, alt.value(170), alt.value(80)),
            tooltip=_tooltip("name:N", "value:Q", "lower:Q", "upper:Q"),
        ),
        base.mark_text(dy=-13, fontSize=12, color=INK).encode(x=x, text="text:N"),
    ).properties(width="container", height=alt.Step(46))


def forest(rows: Sequence[Slice], reference: str) -> Chart:
    """The difference of MAP@12 to the reference of each slice, with its interval; significantly worse ones are triangles."""
    values = [
        {"name": row.label, **_estimate(row.difference), "worse": row.is_worse, "displays": row.displays}
        for row in rows
        if row.difference is not None
    ]
    worse = alt.datum.worse == True  # noqa: E712
    title = f"MAP@12 minus that of {reference}"
    base = alt.Chart(_data(values)).encode(y=alt.Y("name:N", sort=None, title=None))
    color = alt.condition(worse, alt.value(WARN), alt.value(ACCENT))
    zero = (
        alt.Chart(_data([{"zero": 0}]))
        .mark_rule(color=INK, strokeDash=[3, 3], strokeWidth=1)
        .encode(x=alt.X("zero:Q", title=title))
    )
    return alt.layer(
        zero,
        base.mark_rule().encode(x=alt.X("lower:Q", title=title), x2="upper:Q", color=color),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=alt.X("value:Q", title=title),
            color=color,
            shape=alt.condition(worse, alt.value("triangle-down"), alt.value("circle")),
            tooltip=_tooltip("name:N", "value:Q", "lower:Q", "upper:Q", "displays:Q"),
        ),
    ).properties(width="container", height=alt.Step(22))


def by_epoch(epochs: Sequence[Epoch], name: str, best: Callable[[Iterable[float]], float]) -> Chart:
    """A figure by epoch; its best value is a labelled diamond.

    Args:
        epochs: At least one has the figure.
        name: Of the attribute of `Epoch`.
        best: max or min.
    """
    values = [{"epoch": e.epoch, "value": getattr(e, name)} for e in epochs if getattr(e, name) is not None]
    top = best(v["value"] for v in values)
    last = max(epoch.epoch for epoch in epochs)
    x = alt.X("epoch:Q", title="epoch").axis(tickMinStep=1, tickCount=5, format="d", grid=False)
    x = x.scale(domain=[0.7, last + 0.3], nice=False)
    y = alt.Y("value:Q", title=None).scale(zero=False, padding=18).axis(tickCount=5)
    base = alt.Chart(_data(values)).encode(x=x, y=y)
    mark = alt.Chart(_data([{**next(v for v in values if v["value"] == top), "text": f"{top:.4f}"}])).encode(x=x, y=y)
    return alt.layer(
        base.mark_line(color=ACCENT, strokeWidth=2),
        base.mark_point(filled=True, size=45, opacity=1, color=ACCENT).encode(tooltip=_tooltip("epoch:Q", "value:Q")),
        mark.mark_point(filled=True, size=140, opacity=1, shape="diamond", color=ACCENT),
        mark.mark_text(dy=-14 if best is max else 16, fontSize=12, color=INK).encode(text="text:N"),
    ).properties(width="container", height=180)


def calibration(buckets: Sequence[Bucket]) -> Chart:
    """Share of clicks by mean score; on the dashed diagonal, scores are click probabilities."""
    values = [{"predicted": b.predicted, **_estimate(b.clicked), "rows": b.rows} for b in buckets]
    top = max([b.predicted for b in buckets] + [b.clicked.upper or b.clicked.value for b in buckets])
    scale = alt.Scale(domain=[0, top * 1.04], nice=True)
    x = alt.X("predicted:Q", title="mean score", scale=scale)
    y = alt.Y("value:Q", title="share clicked", scale=scale)
    ends = _data([{"predicted": 0, "value": 0}, {"predicted": top, "value": top}])
    base = alt.Chart(_data(values)).encode(x=x)
    return alt.layer(
        alt.Chart(ends).mark_line(strokeDash=[4, 4], color=QUIET, strokeWidth=1.5).encode(x=x, y=y),
        base.mark_rule(color=ACCENT).encode(y=alt.Y("lower:Q", title="share clicked", scale=scale), y2="upper:Q"),
        base.mark_point(filled=True, size=70, opacity=1, color=ACCENT).encode(
            y=y,
            tooltip=_tooltip("predicted:Q", "value:Q", "lower:Q", "upper:Q", "rows:Q"),
        ),
    ).properties(width="container", height=320)


def importance(groups: Sequence[Group]) -> Chart:
    """How much MAP@12 falls when a group of features is permuted, with its interval."""
    values = [{"name": group.name, **_estimate(group.drop)} for group in groups]
    title = "fall of MAP@12"
    base = alt.Chart(_data(values)).encode(y=alt.Y("name:N", sort=None, title=None))
    return alt.layer(
        base.mark_bar(color=ACCENT, height=10, opacity=0.55).encode(
            x=alt.X("value:Q", title=title), tooltip=_tooltip("name:N", "value:Q", "lower:Q", "upper:Q")
        ),
        base.mark_rule(color=INK, strokeWidth=1.5).encode(x=alt.X("lower:Q", title=title), x2="upper:Q"),
    ).properties(width="container", height=alt.Step(20))


def drift(features: Sequence[FeatureStats], threshold: float, since: str) -> Chart:
    """How far the distribution of each feature moved, and the threshold from which on that is marked.

    Args:
        features: To show, in order.
        threshold: Where the dashed line is.
        since: `drift` or `shift`, the attribute to show.
    """
    values = [
        {"name": f.name, "value": getattr(f, since), "over": getattr(f, since) > threshold}
        for f in features
        if getattr(f, since) is not None
    ]
    over = alt.datum.over == True  # noqa: E712
    title = "distance of the distributions"
    line = alt.Chart(_data([{"at": threshold}])).mark_rule(color=INK, strokeDash=[4, 4], strokeWidth=1)
    return alt.layer(
        alt.Chart(_data(values))
        .mark_bar(height=10)
        .encode(
            x=alt.X("value:Q", title=title),
            y=alt.Y("name:N", sort=None, title=None),
            color=alt.condition(over, alt.value(WARN), alt.value(ACCENT)),
            tooltip=_tooltip("name:N", "value:Q"),
        ),
        line.encode(x=alt.X("at:Q", title=title)),
    ).properties(width="container", height=alt.Step(20))


def nodes(rows: Sequence[Node]) -> Chart:
    """Time on the clock of each node as a bar, CPU time as a tick."""
    clock, cpu = "time on the clock", "CPU time"
    order = [row.name for row in rows]
    title = "seconds"
    legend = alt.Color("what:N", sort=[clock, cpu]).scale(domain=[clock, cpu], range=[ACCENT, WARN])
    bars = _data([{"name": r.name, "value": r.seconds or 0.0, "what": clock, "state": r.state} for r in rows])
    ticks = _data([{"name": r.name, "value": r.cpu_seconds, "what": cpu} for r in rows if r.cpu_seconds is not None])
    y = alt.Y("name:N", sort=order, title=None)
    return alt.layer(
        alt.Chart(bars)
        .mark_bar(height=10)
        .encode(x=alt.X("value:Q", title=title), y=y, color=legend, tooltip=_tooltip("name:N", "value:Q", "state:N")),
        alt.Chart(ticks)
        .mark_tick(thickness=3, size=18)
        .encode(x=alt.X("value:Q", title=title), y=y, color=legend, tooltip=_tooltip("name:N", "value:Q", "what:N")),
    ).properties(width="container", height=alt.Step(26))


def _data(values: list[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=values)


def _estimate(estimate: Estimate | None) -> dict[str, float | None]:
    assert estimate is not None
    return {"value": estimate.value, "lower": estimate.lower, "upper": estimate.upper}


def _tooltip(*fields: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(field, format=".4~f")
        if field.endswith(":Q") and not field.startswith(("displays", "epoch", "rows"))
        else alt.Tooltip(field)
        for field in fields
    ]
