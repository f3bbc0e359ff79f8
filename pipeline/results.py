"""Reads what a finished run came to from the metadata store and the artifacts it names."""

import json
from pathlib import Path
from typing import Any

from components.evaluator.eval_config import MAP_AT_12, MAP_AT_12_POPULARITY, MAP_AT_12_RANDOM
from components.evaluator.results import OVERALL, read_evaluation
from components.gate.executor import VERDICT_FILE
from components.infra_validator.report import read_infra
from components.pusher.executor import PUSH_FILE
from pipeline.connection import open_store, where
from pipeline.paths import RootPaths
from pipeline.store import outputs_of
from schemas.config import SplitConfig
from schemas.errors import ClickrankError
from transforms.ingest_report import COUNTS_FILE, read_counts

SYNTH_FILE = "synth.json"
"""Written by `clickrank synth` beside the tables: what the best possible model would reach."""


def summarise(paths: RootPaths, run_id: str, data: Path, split: SplitConfig) -> dict[str, Any]:
    """Gathers the figures of a run.

    Returns:
        A dictionary ready for JSON: `displays` evaluated, exact `map_at_12` of the model and of the baselines (None where there is
        none), `way_to_best`, `blessed` and `reasons` of the gate, `infra` (the infra check's `passed`, `reasons`, `latency_ms` and
        `bytes`), `pushed_version` (None if nothing was pushed), `pushed_path`, `not_pushed` (why the Pusher itself refused, or
        None), `pushed_before` (whether an earlier run had pushed this very model), `examples` by split, `bad_rows` by table.

    Raises:
        ClickrankError: The store holds no such finished run.
    """
    store = open_store(paths)
    context = store.get_context_by_type_and_name("pipeline_run", run_id)
    if context is None:
        raise ClickrankError(f"no run {run_id} in {where(paths)}")
    outputs = outputs_of(store, context)
    try:
        verdict = json.loads((Path(outputs["Gate"]["blessing"].uri) / VERDICT_FILE).read_text())
        counts = read_counts(str(Path(outputs["ClickExampleGen"]["ingest_report"].uri) / COUNTS_FILE))
        pushed = json.loads((Path(outputs["Pusher"]["pushed_model"].uri) / PUSH_FILE).read_text())
        evaluation = read_evaluation(outputs["Evaluator"]["evaluation"].uri)
        infra = read_infra(outputs["InfraValidator"]["infra_blessing"].uri)
    except (KeyError, OSError) as error:
        raise ClickrankError(f"run {run_id} left no complete result under {paths.root}: {error}") from error
    metrics = evaluation.candidate[OVERALL]
    best, random = best_possible(data, split), metrics[MAP_AT_12_RANDOM]
    return {
        "displays": int(metrics[f"{MAP_AT_12}_displays"]),
        "map_at_12": metrics[MAP_AT_12],
        "map_at_12_random": random,
        "map_at_12_popularity": metrics[MAP_AT_12_POPULARITY],
        "map_at_12_blessed": evaluation.baseline[OVERALL][MAP_AT_12] if evaluation.baseline else None,
        "map_at_12_best": best,
        "way_to_best": (metrics[MAP_AT_12] - random) / (best - random) if best is not None and best > random else None,
        "blessed": verdict["blessed"],
        "reasons": verdict["reasons"],
        "infra": {key: infra[key] for key in ("passed", "reasons", "latency_ms", "bytes")},
        "pushed_version": pushed.get("version"),
        "pushed_path": pushed.get("path"),
        "pushed_before": pushed.get("reused", False),
        "not_pushed": pushed.get("why"),
        "model": outputs["Trainer"]["model"].uri,
        "examples": {name.partition("/")[2]: n for name, n in counts.items() if name.startswith("examples/")},
        "bad_rows": {name.partition("/")[2]: n for name, n in counts.items() if name.startswith("bad/") and n},
    }


def best_possible(data: Path, split: SplitConfig) -> float | None:
    """MAP@12 on the drawn clicks of the eval days for whoever knows the click probabilities; None if this is not known."""
    file = data / SYNTH_FILE
    if split.eval_fraction or not file.exists():
        return None
    days = [day for day in json.loads(file.read_text())["by_day"] if day["day"] in split.eval_days]
    displays = sum(day["displays"] for day in days)
    return sum(day["displays"] * day["best_map_at_12_realised"] for day in days) / displays if displays else None
