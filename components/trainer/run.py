"""What TFX calls: `Trainer(run_fn="components.trainer.run.run_fn", custom_config={...})`.

Cheap to import; TensorFlow is imported when a function is called.
"""

import logging
import os
import posixpath
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from components.trainer import worker
from components.trainer.cluster import TF_CONFIG, Cluster, local_cluster
from components.trainer.launch import launch, launch_until_done, main_command
from components.trainer.work_dir import read_trained, write_job
from components.training_job import settings
from schemas import interrupts
from schemas.config import EncodingConfig, FeaturesConfig, ModelConfig, TrainerConfig
from schemas.errors import ConfigError
from schemas.training_job import TrainingJobConfig

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

    from components.trainer.job import Job, Trained

logger = logging.getLogger(__name__)

Section = TypeVar("Section", bound=BaseModel)

_BACKOFF_S = 1.0
LATEST_EXPORT = "export/latest"
BEST_EXPORT = "export/best"


def run_fn(fn_args: "FnArgs") -> None:
    """Trains and exports a model, from the newest checkpoint of the same job on if there is one.

    With a training job (`components.training_job.settings`), its pods train, and this process exports what they came to.

    Without one, `strategy: none` and `mirrored` train in this process. `multi_worker` and `parameter_server` join the cluster that
    TF_CONFIG names, if it is set, whatever `trainer.workers` says; else they start local processes, again if one of them is lost.
    In a cluster, only the chief writes; parameter servers and their workers go on until they are asked to stop. If the weights
    that `trainer.export` does not name are others, they go to `export/` in the run's folder.

    Args:
        fn_args: Read are `train_files`, `eval_files` (a pattern in the folder of each split's records), `transform_output`,
            `serving_model_dir`, `model_run_dir`, `base_model`, and `custom_config` with the sections `encoding`, `model`, `trainer`
            and `features` as dicts, `checkpoints`, a folder that outlives the run, and `code`, a digest.

    Raises:
        ConfigError: The configuration or TF_CONFIG cannot work.
        InputDataError: A split is empty or cannot be read.
        TransientError: Workers did not start, were killed too often, or training was asked to stop and has saved.
        ClickrankError: Training failed, e.g. the loss is NaN; then nothing is exported.
    """
    custom = fn_args.custom_config or {}
    trainer = _section("trainer", TrainerConfig, custom)
    training_job = settings.current()
    cluster = worker.find_cluster(trainer, os.environ.get(TF_CONFIG)) if training_job.kind == "none" else None

    import tensorflow as tf

    from components.trainer import job as jobs

    job = jobs.Job(
        train_dir=_folder("train", fn_args.train_files),
        eval_dir=_folder("eval", fn_args.eval_files),
        run_dir=fn_args.model_run_dir,
        checkpoints=custom["checkpoints"],
        base_model=fn_args.base_model or "",
        encoding=_section("encoding", EncodingConfig, custom),
        model=_section("model", ModelConfig, custom),
        trainer=trainer,
        code=custom.get("code", ""),
    )
    with interrupts.can_stop():
        trained = _train(job, training_job, cluster)
    if trained is None or (cluster and not cluster.is_chief):
        return
    _export_all(job, trained, fn_args, _section("features", FeaturesConfig, custom))
    # What was exported needs no checkpoint.
    if tf.io.gfile.exists(job.checkpoint_dir()):
        tf.io.gfile.rmtree(job.checkpoint_dir())


def _train(job: "Job", training_job: TrainingJobConfig, cluster: Cluster | None) -> "Trained | None":
    if training_job.kind != "none":
        from components.training_job.train import train_in_job

        return train_in_job(job, training_job)
    if cluster is None and job.trainer.is_distributed:
        return _train_locally(job)
    return worker.take_part(job, cluster)  # first: TensorFlow must not have done anything yet


def _export_all(job: "Job", trained: "Trained", fn_args: "FnArgs", how_made: FeaturesConfig) -> None:
    from components.trainer.export import export
    from components.trainer.job import load_weights
    from components.trainer.replay import check_replay

    transform_output = fn_args.transform_output or fn_args.transform_graph_path
    chosen, other, other_dir = trained.best, trained.latest, LATEST_EXPORT
    if job.trainer.export == "latest":
        chosen, other, other_dir = trained.latest, trained.best, BEST_EXPORT
    model = job.build_model()  # outside of any strategy
    folders = {other: posixpath.join(fn_args.model_run_dir, other_dir)} if trained.differ else {}
    for weights, folder in (folders | {chosen: fn_args.serving_model_dir}).items():
        load_weights(model, weights)
        export(model, transform_output, folder, how_made)
        logger.info("exported %s to %s", weights, folder)
    _, evaluation = job.records
    check_replay(model, fn_args.serving_model_dir, evaluation)


def _folder(split: str, patterns: list[str]) -> str:
    if len(patterns) != 1:
        raise ConfigError(f"the records of the {split} split are in one folder. Received: {patterns}")
    return posixpath.dirname(patterns[0])


def _section(name: str, kind: type[Section], custom: Mapping[str, Any]) -> Section:
    try:
        return kind.model_validate(custom.get(name) or {})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        raise ConfigError(f"{where}: {first['msg']}") from error


def _train_locally(job: "Job") -> "Trained":
    """Trains on processes of this machine; their logs go to `run_dir/workers`."""
    from components.trainer.history import RelayHistory

    config = job.trainer
    work_dir = Path(tempfile.mkdtemp(prefix="clickrank-train-"))
    relay = RelayHistory(job.run_dir, config.num_epochs)

    def attempt() -> None:
        for left in work_dir.glob("*-*.*"):
            left.unlink()
        clusters = local_cluster(config.workers, config.parameter_servers if config.is_asynchronous else 0)
        command = main_command(str(work_dir))
        try:
            launch(command, clusters, work_dir, config.start_timeout_s, relay.poll, interrupts.stop_requested, config.max_restarts)
        finally:
            _keep_logs(work_dir, job.run_dir)

    try:
        write_job(work_dir, job)
        launch_until_done(attempt, config.max_restarts, _BACKOFF_S, interrupts.stop_requested)
        return read_trained(work_dir)
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def _keep_logs(work_dir: Path, run_dir: str) -> None:
    """Appends the workers' logs to those of earlier attempts."""
    import tensorflow as tf

    folder = posixpath.join(run_dir, "workers")
    tf.io.gfile.makedirs(folder)
    for log in work_dir.glob("*.log"):
        path = posixpath.join(folder, log.name)
        earlier = tf.io.gfile.GFile(path).read() if tf.io.gfile.exists(path) else ""
        with tf.io.gfile.GFile(path, "w") as file:
            file.write(earlier + log.read_text(errors="replace"))
