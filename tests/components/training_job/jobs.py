"""Training jobs for tests."""

from components.trainer.job import Job
from components.training_job.spec import TrainingJobSpec, plan
from schemas.config import EncodingConfig, ModelConfig, TrainerConfig
from schemas.training_job import TrainingJobConfig

IMAGE = "team/clickrank@sha256:" + 64 * "0"
ROOT = {"claim": "clickrank-root", "mount_path": "/clickrank"}
SIZES = {"cpu_request": "1", "cpu_limit": "2", "memory_request": "4Gi", "memory_limit": "4Gi"}
TWO = TrainerConfig(strategy="multi_worker", workers=2)
SERVERS = TrainerConfig(strategy="parameter_server", workers=2)


def make_config(**keys: object) -> TrainingJobConfig:
    return TrainingJobConfig(**{"kind": "tfjob", "image": IMAGE, "volumes": [ROOT], **SIZES, **keys})  # type: ignore[arg-type]


def make_spec(trainer: TrainerConfig = TWO, folder: str = "/clickrank/runs/checkpoints/0123", **keys: object) -> TrainingJobSpec:
    return plan(make_config(**keys), trainer, folder)


def make_job(folder: str, trainer: TrainerConfig = TWO) -> Job:
    """A job that nobody can train."""
    return Job(
        train_dir=f"{folder}/train",
        eval_dir=f"{folder}/eval",
        run_dir=f"{folder}/run",
        checkpoints=f"{folder}/checkpoints",
        encoding=EncodingConfig(),
        model=ModelConfig(),
        trainer=trainer,
    )
