"""How much a model's MAP@12 depends on the seed: the same training, on the same records, with several seeds."""

import json
import logging
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.locks import file_errors, locked
from pipeline.paths import RootPaths
from schemas.config import Config
from schemas.errors import ConfigError

logger = logging.getLogger(__name__)


def stability(
    root: Path, config: Config, seeds: int, done: Callable[[int, float], object] = lambda seed, value: None
) -> dict[str, Any]:
    """Trains once for each of `seeds` seeds, from `trainer.seed` on, on the records of the latest run at `root`.

    Args:
        root: Where the pipeline has run. Nothing is added to it.
        config: The `encoding` must be that of the records.
        seeds: How many.
        done: Is told each seed and its MAP@12.

    Returns:
        `seeds`, and of MAP@12 over the eval split, of the weights that `trainer.export` would serve: `map_at_12`, one a seed, and
        their `mean`, `standard_deviation` (of the sample; null of one), `min` and `max`.

    Raises:
        ConfigError: There has been no run at `root`, or its records are of another encoding.
        ClickrankError: A training failed.
    """
    paths = RootPaths(root.absolute())
    with file_errors(f"--root {root}"), locked(paths):
        records = _latest_records(paths)
        chosen = range(config.trainer.seed, config.trainer.seed + seeds)
        values = []
        for seed in chosen:
            values.append(_train(records, config, seed))
            done(seed, values[-1])
    return {"seeds": list(chosen), "map_at_12": values, **summarise(values)}


def check_has_run(root: Path) -> None:
    """Raises ConfigError unless the pipeline has run at `root`."""
    if not RootPaths(root).metadata.exists():
        raise ConfigError(f"--root {root}: no run has been here; `clickrank run` makes the records to train on")


def summarise(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation of the sample, minimum and maximum."""
    return {
        "mean": statistics.fmean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
    }


def _latest_records(paths: RootPaths) -> Path:
    from pipeline import store
    from pipeline.connection import open_store

    metadata = open_store(paths)
    for run in sorted(metadata.get_contexts_by_type("pipeline_run"), key=lambda context: context.id, reverse=True):
        outputs = store.outputs_of(metadata, run)
        if "Prebatch" in outputs and Path(outputs["Prebatch"]["records"].uri).exists():
            return Path(outputs["Prebatch"]["records"].uri)
    raise ConfigError(f"--root {paths.root}: no run has come as far as Prebatch")


def _train(records: Path, config: Config, seed: int) -> float:
    from components.trainer import job as jobs
    from components.trainer.distribution import local_strategy
    from components.trainer.history import HISTORY

    trainer = config.trainer.model_copy(update={"seed": seed, "strategy": "none", "workers": 1})
    work = Path(tempfile.mkdtemp(prefix="clickrank-stability-"))
    try:
        job = jobs.Job(
            train_dir=str(records / "Split-train"),
            eval_dir=str(records / "Split-eval"),
            run_dir=str(work / "run"),
            checkpoints=str(work / "checkpoints"),
            encoding=config.encoding,
            model=config.model,
            trainer=trainer,
        )
        jobs.execute(job, local_strategy("none"))
        lines = (work / "run" / HISTORY).read_text().splitlines()
        values = [record["map_at_12"] for record in map(json.loads, lines) if record.get("map_at_12") is not None]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return max(values) if config.trainer.export == "best" else values[-1]
