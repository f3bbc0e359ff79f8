"""What TFX calls: `Trainer(run_fn="components.trainer.run.run_fn", custom_config={"encoding": ..., "model": ..., "trainer": ...,
"features": ...})`.

Cheap to import; TensorFlow is imported when a function is called.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from components.trainer import worker
from components.trainer.cluster import TF_CONFIG, launch, local_cluster, main_command, parse_tf_config
from schemas import progress
from schemas.config import EncodingConfig, FeaturesConfig, ModelConfig, TrainerConfig
from schemas.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from tfx.components.trainer.fn_args_utils import FnArgs

    from components.trainer.job import Job

logger = logging.getLogger(__name__)

Section = TypeVar("Section", bound=BaseModel)


def run_fn(fn_args: "FnArgs") -> None:
    """Trains and exports a model.

    `strategy: none` trains in this process. `multi_worker` joins the cluster that TF_CONFIG names, if it is set (TFJob), whatever
    `trainer.workers` says; else it starts `trainer.workers` local processes. In a cluster, only the chief writes.

    Args:
        fn_args: Read are `train_files`, `eval_files` (glob patterns), `transform_output`, `serving_model_dir`, `model_run_dir`,
            and `custom_config` with the sub-trees `encoding`, `model`, `trainer` and `features` as dicts.

    Raises:
        ConfigError: The configuration or TF_CONFIG cannot work.
        InputDataError: A split is empty or cannot be read.
        TransientError: Workers did not start, or were killed.
        ClickrankError: Training failed, e.g. the loss is NaN; then nothing is exported.
    """
    custom = fn_args.custom_config or {}
    encoding = _section("encoding", EncodingConfig, custom)
    model = _section("model", ModelConfig, custom)
    trainer = _section("trainer", TrainerConfig, custom)
    how_made = _section("features", FeaturesConfig, custom)
    cluster = None
    if trainer.strategy == "multi_worker" and os.environ.get(TF_CONFIG):
        cluster = parse_tf_config(os.environ[TF_CONFIG])

    from components.trainer import job as jobs
    from components.trainer.distribution import default_strategy, join_cluster, leave_cluster
    from components.trainer.export import export
    from components.trainer.input import find_files

    strategy = join_cluster(cluster) if cluster else default_strategy()  # first: TensorFlow must not have done anything yet
    job = jobs.Job(
        train_files=tuple(find_files("train", fn_args.train_files)),
        eval_files=tuple(find_files("eval", fn_args.eval_files)),
        transform_output=fn_args.transform_output or fn_args.transform_graph_path,
        run_dir=fn_args.model_run_dir,
        encoding=encoding,
        model=model,
        trainer=trainer,
    )
    if cluster:
        weights = jobs.execute(job, strategy, worker=cluster.index, workers=len(cluster.workers)).weights
        leave_cluster(strategy)
        if not cluster.is_chief:
            return
    elif trainer.strategy == "multi_worker":
        weights = _train_locally(job)
    else:
        weights = jobs.execute(job, strategy).weights
    export(job.build_model(), weights, job.transform_output, fn_args.serving_model_dir, how_made)
    logger.info("exported to %s", fn_args.serving_model_dir)


def _section(name: str, kind: type[Section], custom: Mapping[str, Any]) -> Section:
    try:
        return kind.model_validate(custom.get(name) or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigError(f"{where}: {first['msg']}") from error


def _train_locally(job: "Job") -> "list[np.ndarray]":
    """Trains on `trainer.workers` processes of this machine and returns the weights; their logs go to `run_dir/workers`."""
    import tensorflow as tf

    from components.trainer.job import load_weights

    work_dir = Path(tempfile.mkdtemp(prefix="clickrank-train-"))
    try:
        (work_dir / worker.JOB).write_text(job.model_dump_json())
        clusters = local_cluster(job.trainer.workers)
        launch(main_command(str(work_dir)), clusters, work_dir, job.trainer.start_timeout_s, _relay_progress(job))
        return load_weights(str(work_dir / worker.WEIGHTS))
    finally:
        tf.io.gfile.makedirs(f"{job.run_dir}/workers")
        for log in work_dir.glob("*.log"):
            tf.io.gfile.copy(str(log), f"{job.run_dir}/workers/{log.name}", overwrite=True)
        shutil.rmtree(work_dir, ignore_errors=True)


def _relay_progress(job: "Job") -> Callable[[], None]:
    """Returns the function that reports the chief's epochs in this process, read from its history."""
    import tensorflow as tf

    from components.trainer.job import HISTORY, STAGE

    path = f"{job.run_dir}/{HISTORY}"
    if tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)
    seen = 0

    def relay() -> None:
        nonlocal seen
        if not tf.io.gfile.exists(path):
            return
        with tf.io.gfile.GFile(path) as file:
            lines = file.read().splitlines()
        for line in lines[seen:]:
            record = json.loads(line)
            logger.info("epoch %d/%d: %s", record["epoch"], job.trainer.num_epochs, line)
            progress.report(STAGE, record["epoch"], job.trainer.num_epochs)
        seen = max(seen, len(lines))

    return relay
