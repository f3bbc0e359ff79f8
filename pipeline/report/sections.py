"""A report -> the sections of its page, in their order."""

from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.report import content, model_sections, run_sections
from pipeline.report.blocks import Blocks, Section
from pipeline.report.content import Absent

T = TypeVar("T")


def sections(report: content.Report) -> tuple[Section, ...]:
    """Returns all sections below the verdict."""
    return (
        _section(
            "checks",
            "Checks",
            "What the gate asked of the model, and what it found.",
            report.verdict,
            model_sections.checks,
            report,
        ),
        _section(
            "ranking",
            "MAP@12 beside the baselines",
            "All rankings are of the same eval displays. Lines are 95 % intervals, over displays.",
            report.evaluation,
            model_sections.ranking,
        ),
        _section(
            "slices",
            "Slices",
            "Where the model is better, and where it is not. Lines are 95 % intervals, over displays; worse is what the gate "
            "found to be.",
            report.slices,
            model_sections.slices,
        ),
        _section(
            "training",
            "Training",
            "By epoch. The diamond is the best.",
            report.epochs,
            model_sections.training,
        ),
        _section(
            "calibration",
            "Calibration",
            "Whether a score is a click probability: of the rows with like scores, the share that was clicked.",
            report.calibration,
            model_sections.calibration,
        ),
        _section("importance", "Feature importance", "What the model ranks by.", report.importance, model_sections.importance),
        _section(
            "data",
            "Features and drift",
            "What the model was trained on, and how far it moved.",
            report.statistics,
            run_sections.data,
        ),
        _section("anomalies", "Anomalies", "Where the data is not as its schema says.", report.anomalies, run_sections.anomalies),
        _section(
            "lineage",
            "Lineage",
            "What was made of what, from the metadata store. Paths are relative to the root.",
            report.lineage,
            run_sections.lineage,
            report.run,
        ),
        _section("nodes", "Time, CPU and memory", "What each node of the run took.", report.nodes, run_sections.nodes),
        _section(
            "configuration",
            "Configuration",
            "What was set, and what differs from the blessed run.",
            report.settings,
            run_sections.settings,
        ),
    )


def _section(key: str, title: str, lead: str, part: T | Absent, make: Callable[..., Blocks], *more: Any) -> Section:
    if isinstance(part, Absent):
        return Section(key, title, lead, absent=part.why)
    return Section(key, title, lead, tuple(make(part, *more)))
