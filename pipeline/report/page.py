"""A report -> one HTML file that needs nothing else: styles, scripts and data are in it, and it may not ask for more.

The page's content security policy forbids every request, and every script but the two that are in the file, by their digests.
"""

import base64
import hashlib
import re
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from pipeline.report import charts, content
from pipeline.report.blocks import Fact, Figure, Row, count, duration, interval, moment, number, signed
from pipeline.report.content import Absent, Estimate, Report
from pipeline.report.sections import sections


def render(report: Report) -> str:
    """Returns the page."""
    parts = sections(report)
    figures = [figure for part in parts for block in part.blocks for figure in _figures(block)]
    scripts = (_bundle(), _text("report.js")) if figures else ()
    return _template().render(
        report=report,
        headline=_headline(report),
        reasons=_reasons(report),
        tiles=_tiles(report),
        facts=_facts(report),
        sections=parts,
        style=_text("report.css"),
        scripts=scripts,
        policy=_policy(scripts),
        plots={"config": charts.CONFIG, "specs": {figure.key: _without_schema(figure) for figure in figures}},
    )


def _figures(block: object) -> tuple[Figure, ...]:
    if isinstance(block, Figure):
        return (block,)
    return block.figures if isinstance(block, Row) else ()


def _headline(report: Report) -> tuple[str, str]:
    """The verdict in a few words, and what kind of verdict it is."""
    if report.run.state == "failed":
        return "Failed", "bad"
    if report.run.state == "unfinished":
        return "Not finished", "open"
    if isinstance(report.verdict, Absent):
        return "No verdict", "open"
    if not report.verdict.blessed:
        return "Not blessed", "bad"
    return ("Blessed, but not pushed", "open") if _why_not_pushed(report) else ("Blessed", "good")


def _why_not_pushed(report: Report) -> tuple[str, ...]:
    """Why a blessed model stayed where it is; nothing if it did not, or the run did not get so far."""
    infra = () if isinstance(report.infra, Absent) else report.infra.checks
    refused = tuple(f"Infra check, {check.name}: {check.sentence}" for check in infra if not check.passed)
    return (*refused, report.run.not_pushed) if report.run.not_pushed else refused


def _reasons(report: Report) -> tuple[str, ...]:
    if report.run.note:
        return (report.run.note,)
    if isinstance(report.verdict, Absent):
        return (report.verdict.why,)
    return (*(_why_not_pushed(report) if report.verdict.blessed else ()), *report.verdict.reasons)


def _tiles(report: Report) -> tuple[Fact, ...]:
    """The figures that matter most."""
    found = report.evaluation
    own = None if isinstance(found, Absent) else found.map_of(content.CANDIDATE)
    if isinstance(found, Absent) or own is None:
        return ()
    tiles = [Fact("MAP@12", number(own.value), f"95 %: {interval(own)}" if own.lower is not None else "")]
    rivals = ((name, found.map_of(name)) for name in (content.POPULARITY, content.BLESSED))
    tiles += [_against(report, name, own, rival) for name, rival in rivals if rival]
    best, random = found.map_of(content.BEST_POSSIBLE), found.map_of(content.RANDOM)
    if best and random and best.value > random.value:
        way = (own.value - random.value) / (best.value - random.value)
        tiles.append(Fact("of what is possible", f"{way:.0%}", "from random to the best possible"))
    tiles.append(Fact("eval displays", count(found.displays)))
    if not isinstance(report.infra, Absent) and report.infra.p50_ms is not None:
        tiles.append(
            Fact("to score a display", f"{number(report.infra.p50_ms, 1)} ms", f"99th percentile {number(report.infra.p99_ms, 1)}")
        )
    return tuple(tiles)


def _against(report: Report, name: str, own: Estimate, rival: Estimate) -> Fact:
    comparison = None if isinstance(report.verdict, Absent) else report.verdict.comparison
    note = f"it has {number(rival.value)}"
    if name == content.BLESSED and comparison:
        note = f"bounds: {interval(comparison.difference, is_difference=True)}"
    return Fact(f"against {name.removesuffix(' model')}", signed(own.value - rival.value), note)


def _facts(report: Report) -> tuple[Fact, ...]:
    run = report.run
    pushed = run.version_path if run.version is not None else "nothing"
    return (
        Fact("Run", run.run_id),
        Fact("Started", moment(run.started)),
        Fact("Took", duration(run.seconds)),
        Fact("Data", run.data or "unknown"),
        Fact("Root", run.root),
        Fact("Blessed before", run.blessed_run or "no model"),
        Fact("Pushed", pushed),
    )


def _without_schema(figure: Figure) -> dict[str, object]:
    """Leaves out the address of the schema and the config of Altair's own theme."""
    return {key: value for key, value in figure.spec.items() if key not in ("$schema", "config")}


def _policy(scripts: tuple[str, ...]) -> str:
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _breakable(text: str) -> Markup:
    """Lets names break after an underscore or a dot, where a line is short."""
    return Markup(re.sub(r"([_.](?=[a-z]))", r"\1<wbr>", str(escape(text))))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = _breakable
    return environment.from_string(_text("report.html"))
