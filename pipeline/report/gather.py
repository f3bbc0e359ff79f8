"""Reads a run's folder, metadata and artifacts into a `content.Report`; what cannot be read becomes an `Absent` that says why."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.infra_validator.report import read_infra
from components.trainer.history import HISTORY
from pipeline.paths import RootPaths
from pipeline.report import calibration, content, evaluation, outcome, settings, slices, statistics, verdicts
from pipeline.report.artifacts import NotThereError, RunArtifacts
from pipeline.report.content import Absent
from pipeline.report.sources import Sources, part, read_config, report_config
from pipeline.results import best_possible
from schemas import features
from schemas.config import Config, SplitConfig

_COLUMNS = tuple(name for name in features.columns() if name not in ("display_id", "uuid", "timestamp"))
"""What statistics are told of: not what only names a row."""

CHAIN = (
    ("examples", "ClickExampleGen", "examples"),
    ("transform", "Transform", "transform_graph"),
    ("transformed examples", "Transform", "transformed_examples"),
    ("records", "Prebatch", "records"),
    ("model", "Trainer", "model"),
    ("evaluation", "Evaluator", "evaluation"),
    ("blessing", "Gate", "blessing"),
    ("infra blessing", "InfraValidator", "infra_blessing"),
    ("version", "Pusher", "pushed_model"),
)
"""What leads from the data to the pushed version: what it is, the node that makes it, its output."""


def gather(
    paths: RootPaths, run_id: str, measure_importance: Callable[[RunArtifacts, Mapping[str, Any]], content.Importance]
) -> content.Report:
    """Gathers the report of a run.

    Args:
        paths: The root, where it is now.
        run_id: The run; its folder exists.
        measure_importance: Gets the run and its configuration; may raise `NotThereError`.
    """
    sources = Sources(paths, run_id)
    return content.Report(
        run=outcome.run(sources),
        verdict=part(lambda: verdicts.verdict(sources.verdict)),
        infra=part(lambda: _infra(sources)),
        evaluation=part(lambda: _evaluation(sources)),
        slices=part(lambda: _slices(sources)),
        epochs=part(lambda: _epochs(sources)),
        calibration=part(lambda: _calibration(sources)),
        importance=part(lambda: measure_importance(sources.run, sources.config)),
        statistics=part(lambda: _statistics(sources)),
        anomalies=part(lambda: statistics.read_anomalies(sources.run.folder("ExampleValidator", "anomalies"))),
        lineage=part(lambda: _lineage(sources)),
        nodes=part(lambda: outcome.nodes(sources)),
        settings=part(lambda: _settings(sources)),
    )


def _infra(sources: Sources) -> content.Infra:
    if "InfraValidator" not in sources.run.executions:
        raise NotThereError("The run had none.")
    return verdicts.infra(read_infra(sources.run.folder("InfraValidator", "infra_blessing")))


def _evaluation(sources: Sources) -> content.Evaluation:
    best = content.present(part(lambda: _best(sources)))
    return evaluation.summarise(sources.evaluation, content.present(part(lambda: sources.displays)), best)


def _best(sources: Sources) -> float | None:
    if "map_at_12_best" in sources.summary:
        return sources.summary["map_at_12_best"]
    data = Path(sources.run.property_of("ClickExampleGen", "data"))
    return best_possible(data, SplitConfig.model_validate(sources.config.get("split", {})))


def _slices(sources: Sources) -> content.Slices:
    verdict = content.present(part(lambda: sources.verdict))
    found = slices.summarise(sources.evaluation, content.present(part(lambda: sources.displays)), verdict)
    if not found.rows:
        raise NotThereError("No slices: `evaluate.slices` is empty, or no eval display is in any.")
    return found


def _epochs(sources: Sources) -> tuple[content.Epoch, ...]:
    lines = (sources.run.folder("Trainer", "model_run") / HISTORY).read_text().splitlines()
    known = content.Epoch.__dataclass_fields__
    return tuple(content.Epoch(**{k: v for k, v in json.loads(line).items() if k in known}) for line in lines)


def _calibration(sources: Sources) -> tuple[content.Bucket, ...]:
    found = calibration.buckets(calibration.read_histogram(sources.run.folder("Evaluator", "evaluation")))
    if not found:
        raise NotThereError("The Evaluator of this run has left no calibration plot.")
    return found


def _statistics(sources: Sources) -> content.Statistics:
    run = sources.run
    folder = run.folder("StatisticsGen", "statistics")
    previous, why = None, ""
    blessed = run.blessed_before
    if blessed is None:
        why = "There is no drift to measure: no model was blessed before this run."
    elif run.outputs["StatisticsGen"]["statistics"].id == blessed.outputs["StatisticsGen"]["statistics"].id:
        why = f"The blessed run {blessed.run_id} has the very same statistics: the data did not change."
    else:
        read = part(lambda: statistics.read_split(blessed.folder("StatisticsGen", "statistics"), "train"))
        if isinstance(read, Absent):
            why = f"Of the blessed run {blessed.run_id}: {read.why}"
        else:
            previous = read
    threshold = report_config(sources.config).drift_threshold
    train, evaluated = (statistics.read_split(folder, split) for split in ("train", "eval"))
    return statistics.summarise(train, evaluated, previous, why, threshold, _COLUMNS)


def _lineage(sources: Sources) -> content.Lineage:
    chain, others = sources.run.lineage(CHAIN)
    if not chain:
        raise NotThereError("The run has made no artifact.")
    return content.Lineage(sources.run.property_of("ClickExampleGen", "fingerprint"), chain, others, sources.run.blessed_id)


def _settings(sources: Sources) -> content.Settings:
    return settings.compare(sources.config, Config().model_dump(mode="json"), _blessed_config(sources))


def _blessed_config(sources: Sources) -> Mapping[str, Any] | Absent:
    blessed = part(lambda: sources.run.blessed_before)
    if isinstance(blessed, Absent):
        return blessed
    if blessed is None:
        return Absent("There is nothing to compare with: no model was blessed before this run.")
    return part(lambda: read_config(sources.paths, blessed.run_id))
