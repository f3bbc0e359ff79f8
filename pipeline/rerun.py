"""Runs a finished run again, from the same data by the same configuration, to see whether it comes to the same."""

import tempfile
from pathlib import Path
from typing import Any

from pipeline.config import load_config
from pipeline.noise import log_to
from pipeline.paths import RootPaths
from pipeline.record import Record, read_record
from pipeline.repetition import read_summary
from pipeline.report.write import choose_run
from pipeline.run import run
from schemas.config import LATEST_BLESSED, Config, TrainerConfig
from schemas.errors import ConfigError, InputDataError
from schemas.tables import OUTBRAIN


def rerun(root: Path, run_id: str, data: Path | None, *, resume: bool, verbose: bool) -> dict[str, Any]:
    """Runs a run again as a run of its own, no node from the cache, and compares the two (`pipeline.repetition.compare`).

    The verdict is of now: the model is held against the one that is blessed now. Training that started from the latest blessed
    model starts from the one that was it then.

    Args:
        root: Where the run was.
        run_id: The run.
        data: Folder of the raw tables, if they are no longer where they were.
        resume: As in `pipeline.run.run`.
        verbose: As there.

    Raises:
        ConfigError: There is no such run, it did not come to its end, or it has no record of what it was made of.
        InputDataError: The raw tables are not what they were; names the file.
        ClickrankError: As `pipeline.run.run`.
    """
    paths = RootPaths(root.absolute())
    choose_run(paths, run_id, "RUN_ID")
    read_summary(paths, run_id)
    record = read_record(paths, run_id)
    config = load_config([paths.run(run_id) / "config.resolved.yaml"])
    folder = data or Path(record.data)
    check_data(str(folder), record, run_id)
    if config.trainer.warm_start == LATEST_BLESSED:
        config = _pin_warm_start(paths, run_id, config, verbose)
    return run(
        folder,
        root,
        config,
        runner=record.runner,
        from_node=None,
        resume=resume,
        verbose=verbose,
        rerun_of=run_id,
    )


def check_data(folder: str, record: Record, run_id: str) -> None:
    """Makes sure that a folder holds the raw tables that a run was made of. Reads all of them; time stamps do not count.

    Raises:
        InputDataError: A file has changed, is gone or is new.
    """
    from transforms.contents import find_changes
    from transforms.sources import find_sources

    change = next(find_changes(find_sources(folder, OUTBRAIN), record.files), None)
    if change:
        raise InputDataError(f"{folder}: not the data of run {run_id}: {change}")


def _pin_warm_start(paths: RootPaths, run_id: str, config: Config, verbose: bool) -> Config:
    """The configuration with the very model that the run's training started from in the place of `latest_blessed`."""
    with tempfile.TemporaryDirectory(prefix="clickrank-rerun-") as temporary, log_to(Path(temporary) / "log.txt", verbose):
        from tfx.utils import path_utils

        from pipeline.connection import open_store, where
        from pipeline.store import input_of, outputs_of

        store = open_store(paths)
        context = store.get_context_by_type_and_name("pipeline_run", run_id)
        if context is None:
            raise ConfigError(f"run {run_id} is not in {where(paths)}, so what its training started from is not known")
        base = input_of(store, outputs_of(store, context)["Trainer"]["model"], "base_model")
    trainer = config.trainer.model_dump()
    if base is None:
        trainer |= {name: TrainerConfig.model_fields[name].default for name in trainer if name.startswith("warm_start")}
    elif Path(base.uri).exists():
        trainer["warm_start"] = path_utils.serving_model_path(base.uri)
    else:
        raise InputDataError(f"{base.uri}: gone; the training of run {run_id} started from this model")
    return config.model_copy(update={"trainer": TrainerConfig.model_validate(trainer)})
