"""What is sent of a run to an MLflow server; plain values, made from the run's folder and the artifacts of its nodes."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config import load_config
from pipeline.paths import RootPaths
from pipeline.record import read_record
from pipeline.repetition import read_summary
from schemas.config import Config
from schemas.errors import ClickrankError

RUN_ID_TAG = "clickrank.run_id"

_MAX_VALUE = 6000
"""Characters that MLflow takes as the value of a parameter; the whole configuration goes as a file, too."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sent of one run.

    Attributes:
        run_id: The run.
        started_ms: When it began, milliseconds since 1970.
        ended_ms: When it ended.
        params: Path of a configuration key -> its value as text.
        metrics: Name, value and step; figures of the whole run have step 0, those of an epoch its last training step.
        tags: Name -> value.
        files: Relative to the root.
    """

    run_id: str
    started_ms: int
    ended_ms: int
    params: dict[str, str]
    metrics: tuple[tuple[str, float, int], ...]
    tags: dict[str, str]
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON's types."""
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Payload":
        """Reads what `to_json` returned.

        Raises:
            TypeError: It is none of that.
            KeyError: It is none of that.
        """
        metrics = tuple((str(name), float(value), int(step)) for name, value, step in content["metrics"])
        return Payload(**{**content, "metrics": metrics, "files": tuple(content["files"])})


def make_payload(paths: RootPaths, run_id: str) -> Payload:
    """Gathers what is sent of a run that went through.

    Raises:
        ConfigError: It did not go through.
        ClickrankError: An artifact of it is gone.
    """
    # TFX and TFMA take seconds to import.
    from components.evaluator.results import OVERALL, read_evaluation
    from components.gate.executor import VERDICT_FILE
    from components.trainer.history import HISTORY, curves
    from pipeline.connection import open_store
    from pipeline.report.artifacts import NotThereError, RunArtifacts, relative

    summary, folder = read_summary(paths, run_id), paths.run(run_id)
    config = load_config([folder / "config.resolved.yaml"])
    try:
        run = RunArtifacts(open_store(paths), paths, run_id)
        evaluation = read_evaluation(run.folder("Evaluator", "evaluation")).candidate[OVERALL]
        history = (run.folder("Trainer", "model_run") / HISTORY).read_text().splitlines()
        verdict = run.folder("Gate", "blessing") / VERDICT_FILE
    except (NotThereError, OSError) as error:
        raise ClickrankError(f"run {run_id} cannot be tracked: {error}") from error
    metrics = [(name, value, 0) for name, value in numbers(summary)]
    metrics += [(f"evaluation/{name}", value, 0) for name, value in numbers(evaluation)]
    for line in history:
        epoch = json.loads(line)
        metrics += [(name, value, epoch["step"]) for name, value in curves(epoch).items()]
    ended_ms = int((folder / "summary.json").stat().st_mtime * 1000)
    files = [*(folder / name for name in ("config.resolved.yaml", "summary.json", "record.json", "report.html")), verdict]
    return Payload(
        run_id,
        ended_ms - int(summary["seconds"] * 1000),
        ended_ms,
        parameters(config),
        tuple(metrics),
        _tags(paths, run_id, summary),
        tuple(relative(str(file), paths.root) for file in files),
    )


def parameters(config: Config) -> dict[str, str]:
    """Flattens a configuration to path -> value; lists are JSON. Where to track is not part of what is tracked."""
    tree = config.model_dump(mode="json", exclude={"tracking"})
    return {path: (value if isinstance(value, str) else json.dumps(value))[:_MAX_VALUE] for path, value in _leaves(tree)}


def numbers(tree: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields path -> value of the finite numbers in a tree; of versions, numbers are but names."""
    for path, value in _leaves(tree):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and math.isfinite(value) and path != "pushed_version":
            yield path, float(value)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _tags(paths: RootPaths, run_id: str, summary: Mapping[str, Any]) -> dict[str, str]:
    tags = {
        RUN_ID_TAG: run_id,
        "clickrank.blessed": json.dumps(summary["blessed"]),
        "mlflow.source.name": "clickrank",
        # MLflow shows it as the run's description.
        "mlflow.note.content": "\n".join(("blessed" if summary["blessed"] else "not blessed", *summary["reasons"])),
    }
    if summary["pushed_version"] is not None:
        tags["clickrank.pushed_version"] = str(summary["pushed_version"])
    if paths.record(run_id).exists():
        record = read_record(paths, run_id)
        tags["clickrank.data_fingerprint"] = record.fingerprint
        if record.rerun_of:
            tags["clickrank.rerun_of"] = record.rerun_of
    return tags


def present(payload: Payload, root: Path) -> list[Path]:
    """Returns the files of a payload that are there: a run may have no report."""
    return [root / file for file in payload.files if (root / file).is_file()]
