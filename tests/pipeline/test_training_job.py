"""Training jobs in the pipeline: what of the section reaches what."""

import json

import pytest

from pipeline import graph
from pipeline.config import load_config
from pipeline.nodes import SECTIONS
from pipeline.paths import RootPaths
from pipeline.runners import compile_graph
from pipeline.step import _keep_config
from pipeline.synth import generate
from schemas.errors import ConfigError
from tests.components.training_job.cluster import Cluster, running
from tests.components.training_job.jobs import IMAGE
from tests.components.training_job.operator import Operator
from tests.faults.command import TINY, clickrank

JOB = ("training_job.kind=tfjob", f"training_job.image={IMAGE}", "training_job.memory_limit=8Gi")


def test_nothing_of_it_is_in_what_the_nodes_are_given(tmp_path):
    """So TFX's cache does not know of it."""
    assert not any("training_job" in sections for sections in SECTIONS.values())
    graphs = [
        compile_graph(graph.create_pipeline("data", "", RootPaths(tmp_path), load_config((), settings)), "run")
        for settings in ((), JOB)
    ]
    assert graphs[0] == graphs[1]


def test_another_try_of_a_run_may_give_its_pods_more(tmp_path):
    paths = RootPaths(tmp_path)
    paths.run("r").mkdir(parents=True)
    _keep_config(paths, "r", load_config((), JOB))
    _keep_config(paths, "r", load_config((), (*JOB, "training_job.memory_limit=16Gi")))
    with pytest.raises(ConfigError, match="its sections trainer differ"):
        _keep_config(paths, "r", load_config((), (*JOB, "trainer.seed=1")))


@pytest.mark.slow  # a whole run, and another one from the cache
def test_a_run_trains_in_a_job_and_with_other_pods_it_comes_from_the_cache(tmp_path, monkeypatch):
    generate(tmp_path / "log", displays=700, seed=5)
    volumes = json.dumps([{"claim": "root", "mount_path": str(tmp_path)}])
    settings = [*JOB, f"training_job.volumes={volumes}", "trainer.strategy=multi_worker", "trainer.workers=2"]

    def run(*more):
        given = [word for setting in (*settings, *more) for word in ("--set", setting)]
        done = clickrank("run", tmp_path / "log", "--root", tmp_path / "root", *TINY, *given, "--json")
        assert done.returncode in (0, 4), done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    with running(Cluster()) as cluster, Operator(cluster).running() as operator:
        (tmp_path / "kubeconfig").write_text(cluster.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        first = run()
        assert len(operator.started) == 2
        again = run("training_job.memory_limit=16Gi", "training_job.gpu_type=amd.com/gpu")
        assert len(operator.started) == 2
    assert "Trainer" not in first["cached_nodes"]
    assert "Trainer" in again["cached_nodes"]
    assert again["map_at_12"] == first["map_at_12"]
