"""Compares a rerun with the run that it repeats."""

import json
from pathlib import Path
from typing import Any

from components.pusher.versions import content_digest
from pipeline.paths import RootPaths
from pipeline.record import read_record
from schemas.errors import ConfigError


def read_summary(paths: RootPaths, run_id: str) -> dict[str, Any]:
    """Reads the summary of a run that went through.

    Raises:
        ConfigError: The run did not come to its end, or the file cannot be read.
    """
    path = paths.run(run_id) / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"run {run_id} did not come to its end, so it has no result ({path})") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return summary


def compare(paths: RootPaths, first_id: str, summary: dict[str, Any]) -> dict[str, Any]:
    """Says whether a rerun came to what the first run came to.

    Args:
        paths: The root of both.
        first_id: The first run.
        summary: The rerun's.

    Returns:
        `of`: the first run; `map_at_12`: its own; `difference`: the rerun's minus that; `same`: whether it is 0, bit for bit;
        `same_model`: whether the two SavedModels have the same files, None if the first one is gone; `blessed`: whether the first
        one was; `changed`: what else than the data is not what it was, in words.
    """
    first = read_summary(paths, first_id)
    models = [model_digest(one["model"]) for one in (first, summary)]
    return {
        "of": first_id,
        "map_at_12": first["map_at_12"],
        "difference": summary["map_at_12"] - first["map_at_12"],
        "same": summary["map_at_12"] == first["map_at_12"],
        "same_model": None if None in models else models[0] == models[1],
        "blessed": first["blessed"],
        "changed": read_record(paths, summary["run_id"]).differences(read_record(paths, first_id)),
    }


def model_digest(artifact: str) -> str | None:
    """What identifies the SavedModel in a model artifact of the Trainer; None if it is gone."""
    files = list(Path(artifact).rglob("saved_model.pb"))
    return content_digest(files[0].parent) if len(files) == 1 else None
