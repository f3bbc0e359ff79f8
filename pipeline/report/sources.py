"""Where the parts of a report come from, and what becomes of a part that is not there."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import yaml

from components.evaluator.displays import FOLDER as DISPLAYS_FOLDER
from components.evaluator.displays import read_displays
from components.evaluator.results import Evaluation, read_evaluation
from components.gate.executor import VERDICT_FILE
from pipeline.connection import exists, open_store
from pipeline.paths import RootPaths
from pipeline.report.artifacts import NotThereError, RunArtifacts, relative
from pipeline.report.content import Absent
from schemas.config import ReportConfig
from schemas.errors import ClickrankError

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Sources:
    """Where the parts of a report come from; each property raises what `part` makes a sentence of."""

    paths: RootPaths
    run_id: str

    @cached_property
    def run(self) -> RunArtifacts:
        """The run in the metadata store."""
        if not exists(self.paths):
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
        folder = self.run.folder("Evaluator", "evaluation")
        return read_displays(folder) if (folder / DISPLAYS_FOLDER).exists() else None

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """`verdict.json`."""
        return _read_json(self.run.folder("Gate", "blessing") / VERDICT_FILE)


def part(read: Callable[[], T]) -> T | Absent:
    """Reads a part; whatever goes wrong becomes the sentence that says so."""
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
