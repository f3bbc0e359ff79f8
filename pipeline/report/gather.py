"""Reads a run's folder, metadata and artifacts into a `content.Report`; what cannot be read becomes an `Absent` that says why."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import yaml
from ml_metadata.proto import metadata_store_pb2
from pyarrow import parquet

from components.evaluator.results import Evaluation, read_evaluation
from components.gate.executor import VERDICT_FILE
from components.trainer.history import HISTORY
from pipeline.paths import RootPaths
from pipeline.report import content, evaluation, settings, statistics
from pipeline.report.artifacts import NotThereError, RunArtifacts, relative
from pipeline.report.content import Absent
from pipeline.results import best_possible
from pipeline.store import open_store
from pipeline.usage import read_usage
from schemas import features
from schemas.config import Config, ReportConfig, SplitConfig
from schemas.errors import ClickrankError

_log = logging.getLogger(__name__)

T = TypeVar("T")

_COLUMNS = tuple(name for name in features.columns() if name not in ("display_id", "uuid", "timestamp"))
"""What statistics are told of: not what only names a row."""

_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "finished",
    metadata_store_pb2.Execution.FAILED: "failed",
    metadata_store_pb2.Execution.CACHED: "cached",
    metadata_store_pb2.Execution.CANCELED: "canceled",
}

CHAIN = (
    ("examples", "ClickExampleGen", "examples"),
    ("transform", "Transform", "transform_graph"),
    ("transformed examples", "Transform", "transformed_examples"),
    ("records", "Prebatch", "records"),
    ("model", "Trainer", "model"),
    ("evaluation", "Evaluator", "evaluation"),
    ("blessing", "Gate", "blessing"),
    ("infra blessing", "InfraValidator", "blessing"),
    ("version", "Pusher", "pushed_model"),
)
"""What leads from the data to the pushed version: what it is, the node that makes it, its output."""


@dataclass(frozen=True)
class Sources:
    """Where the parts of a report come from; each property raises what `_part` makes a sentence of."""

    paths: RootPaths
    run_id: str

    @cached_property
    def run(self) -> RunArtifacts:
        """The run in the metadata store."""
        if not self.paths.metadata.exists():
            raise NotThereError(f"The metadata store {self.paths.metadata.name} is gone from the root.")
        return RunArtifacts(open_store(self.paths, read_only=True), self.paths, self.run_id)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`, empty unless the run went through."""
        path = self.paths.run(self.run_id) / "summary.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration of the run."""
        return read_config(self.paths, self.run_id)

    @cached_property
    def evaluation(self) -> Evaluation:
        """What the Evaluator computed."""
        return read_evaluation(self.run.folder("Evaluator", "evaluation"))

    @cached_property
    def displays(self) -> pa.Table | None:
        """One row for each eval display, None if the Evaluator did not keep them."""
        folder = self.run.folder("Evaluator", "evaluation") / "displays"
        return parquet.read_table(folder) if any(folder.glob("displays-*.parquet")) else None

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """`verdict.json`."""
        return _read_json(self.run.folder("Gate", "blessing") / VERDICT_FILE)


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
        run=_run(sources),
        verdict=_part(lambda: evaluation.verdict(sources.verdict)),
        infra=_part(lambda: _infra(sources)),
        evaluation=_part(lambda: _evaluation(sources)),
        slices=_part(lambda: _slices(sources)),
        epochs=_part(lambda: _epochs(sources)),
        calibration=_part(lambda: _calibration(sources)),
        importance=_part(lambda: measure_importance(sources.run, sources.config)),
        statistics=_part(lambda: _statistics(sources)),
        anomalies=_part(lambda: statistics.read_anomalies(sources.run.folder("ExampleValidator", "anomalies"))),
        lineage=_part(lambda: _lineage(sources)),
        nodes=_part(lambda: _nodes(sources)),
        settings=_part(lambda: _settings(sources)),
    )


def _part(read: Callable[[], T]) -> T | Absent:
    try:
        return read()
    except NotThereError as error:
        return Absent(str(error))
    except ClickrankError as error:
        return Absent(f"It cannot be read: {error}.")
    except OSError as error:
        return Absent(f"It cannot be read: {error.strerror or error}: {error.filename or 'a file'}.")
    except Exception as error:
        # One damaged file must not cost the rest of the report.
        _log.info("a part of the report failed", exc_info=error)
        first = (str(error).strip().splitlines() or [""])[0][:200]
        return Absent(f"It is damaged, or was written by another version: {type(error).__name__}: {first}")


def _or(part: T | Absent, instead: T) -> T:
    return instead if isinstance(part, Absent) else part


def _run(sources: Sources) -> content.Run:
    run = content.present(_part(lambda: sources.run))
    summary = _or(_part(lambda: sources.summary), {})
    usage = _or(_part(lambda: read_usage(sources.paths.usage(sources.run_id))), ())
    blessed = content.present(_part(lambda: run.blessed_before if run else None))
    failed = [node for node in usage if node.state == "failed"]
    states = {name: _STATES.get(execution.last_known_state) for name, execution in run.executions.items()} if run else {}
    state: content.RunState = "finished"
    note = ""
    if not summary:
        in_store = [name for name, state in states.items() if state == "failed"]
        if failed:
            state, note = "failed", f"{failed[0].node} failed: {failed[0].error}"
        elif in_store:
            state, note = "failed", f"{in_store[0]} failed, or the run was killed while it worked; the log says more."
        else:
            last = usage[-1].node if usage else next(reversed(states), None)
            where = f" The last that is known of it is {last}." if last else " It ended before its first node."
            state, note = "unfinished", f"The run has not come to its end: it still goes on, was stopped, or was killed.{where}"
    path = summary.get("pushed_path") or ""
    return content.Run(
        sources.run_id,
        str(sources.paths.root),
        run.property_of("ClickExampleGen", "data") if run else "",
        run.started if run else _time_of(sources.run_id),
        summary.get("seconds"),
        state,
        note,
        blessed.run_id if blessed else None,
        summary.get("pushed_version"),
        f"serving/{Path(path).name}" if path and Path(path).parent.name == "serving" else path,
    )


def _time_of(run_id: str) -> float | None:
    try:
        return time.mktime(time.strptime(run_id[:15], "%Y%m%d-%H%M%S"))
    except ValueError:
        return None


def _infra(sources: Sources) -> content.Infra:
    if "InfraValidator" not in sources.run.executions:
        raise NotThereError("The run had none.")
    return evaluation.infra(_read_json(sources.run.folder("InfraValidator", "blessing") / "infra.json"))


def _evaluation(sources: Sources) -> content.Evaluation:
    best = content.present(_part(lambda: _best(sources)))
    return evaluation.summarise(sources.evaluation, content.present(_part(lambda: sources.displays)), best)


def _best(sources: Sources) -> float | None:
    if "map_at_12_best" in sources.summary:
        return sources.summary["map_at_12_best"]
    data = Path(sources.run.property_of("ClickExampleGen", "data"))
    return best_possible(data, SplitConfig.model_validate(sources.config.get("split", {})))


def _slices(sources: Sources) -> content.Slices:
    verdict = content.present(_part(lambda: sources.verdict))
    found = evaluation.slices(sources.evaluation, content.present(_part(lambda: sources.displays)), verdict)
    if not found.rows:
        raise NotThereError("No slices: `evaluate.slices` is empty, or no eval display is in any.")
    return found


def _epochs(sources: Sources) -> tuple[content.Epoch, ...]:
    lines = (sources.run.folder("Trainer", "model_run") / HISTORY).read_text().splitlines()
    known = content.Epoch.__dataclass_fields__
    return tuple(content.Epoch(**{k: v for k, v in json.loads(line).items() if k in known}) for line in lines)


def _calibration(sources: Sources) -> tuple[content.Bucket, ...]:
    found = evaluation.buckets(evaluation.read_histogram(sources.run.folder("Evaluator", "evaluation")))
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
        read = _part(lambda: statistics.read_split(blessed.folder("StatisticsGen", "statistics"), "train"))
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
    return content.Lineage(sources.run.property_of("ClickExampleGen", "fingerprint"), chain, others)


def _nodes(sources: Sources) -> tuple[content.Node, ...]:
    usage = content.present(_part(lambda: read_usage(sources.paths.usage(sources.run_id))))
    if usage:
        return tuple(content.Node(u.node, u.state, u.seconds, u.cpu_seconds, u.peak_rss_bytes, u.error) for u in usage)
    # What an older version left: the times in the metadata store.
    found = tuple(
        content.Node(
            name,
            _STATES.get(execution.last_known_state, "running"),
            (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000,
        )
        for name, execution in sources.run.executions.items()
    )
    if not found:
        raise NotThereError("No node of the run has started.")
    return found


def _settings(sources: Sources) -> content.Settings:
    return settings.compare(sources.config, Config().model_dump(mode="json"), _blessed_config(sources))


def _blessed_config(sources: Sources) -> Mapping[str, Any] | Absent:
    blessed = _part(lambda: sources.run.blessed_before)
    if isinstance(blessed, Absent):
        return blessed
    if blessed is None:
        return Absent("There is nothing to compare with: no model was blessed before this run.")
    return _part(lambda: read_config(sources.paths, blessed.run_id))


def read_config(paths: RootPaths, run_id: str) -> dict[str, Any]:
    """Reads the configuration that a run kept.

    Raises:
        NotThereError: It is gone, or no configuration.
    """
    path = paths.run(run_id) / "config.resolved.yaml"
    where = relative(str(path), paths.root)
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as error:
        raise NotThereError(f"The configuration {where} is gone.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NotThereError(f"The configuration {where} is damaged.") from error
    if not isinstance(tree, dict):
        raise NotThereError(f"The configuration {where} is damaged.")
    return tree


def report_config(config: Mapping[str, Any]) -> ReportConfig:
    """The `report` section of a run's configuration; the defaults if it is an older version's that has none, or another."""
    try:
        return ReportConfig.model_validate(config.get("report", {}))
    except ValueError:
        return ReportConfig()


def _read_json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is no object")
    return found
