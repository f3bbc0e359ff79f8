"""A server, and one compiled pipeline for all tests that are not about compiling."""

import shutil

import pytest

from pipeline.config import load_config
from pipeline.kubeflow import place
from pipeline.kubeflow.compile import compile_pipeline
from pipeline.kubeflow.errors import TOKEN_VARIABLE
from pipeline.kubeflow.retries import Retries
from tests.pipeline.kubeflow.server import serving

IMAGE = "registry.example/clickrank@sha256:" + "ab" * 32


class Patience:
    """Retries that wait for nothing, and keep what they would have waited for and said."""

    def __init__(self, limit: int = 2):
        self.slept: list[float] = []
        self.said: list[str] = []
        self.retries = Retries(limit, 1.0, sleep=self.slept.append, share=lambda: 1.0, say=self.said.append)


@pytest.fixture
def patience():
    return Patience()


@pytest.fixture
def kubeflow(monkeypatch, tmp_path):
    """A server, and an environment in which nothing says who asks."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "no-token"))
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def compiled_once(tmp_path_factory):
    file = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    compile_pipeline(file, load_config((), [f"kubeflow.pod.image={IMAGE}"]))
    return file


@pytest.fixture
def quick(monkeypatch, compiled_once):
    """Lets submitting take the pipeline that is compiled already; a new seed makes it another."""

    def copy(out, config):
        shutil.copy(compiled_once, out)
        with out.open("a") as file:
            file.write(f"# seed {config.trainer.seed}\n")

    monkeypatch.setattr(place, "compile_pipeline", copy)


@pytest.fixture
def configured(kubeflow):
    """Makes a configuration that submits to the server."""
    return lambda *more: load_config((), [f"kubeflow.pod.image={IMAGE}", f"kubeflow.api.endpoint={kubeflow.address}", *more])
