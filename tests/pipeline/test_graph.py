"""How the nodes are wired."""

import pytest

from pipeline import graph
from pipeline.paths import RootPaths
from schemas.config import Config, EvaluateConfig
from schemas.errors import ConfigError


def nodes(tmp_path, config=None):
    pipeline = graph.create_pipeline("data", "fingerprint", RootPaths(tmp_path), config or Config())
    return {node.id: node for node in pipeline.components}


def test_the_evaluator_runs_again_when_code_that_it_runs_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "module_digest", lambda module: module)
    evaluator = nodes(tmp_path)["Evaluator"]
    assert evaluator.exec_properties["code"] == "components.evaluator.executor"


def test_other_slices_are_another_evaluation(tmp_path):
    config = Config(evaluate=EvaluateConfig(slices=(("hour",),)))
    one, other = (nodes(tmp_path, c)["Evaluator"].exec_properties["eval_config"] for c in (None, config))
    assert one != other


def test_a_slice_by_what_is_not_there_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="there is no column 'weather'"):
        nodes(tmp_path, Config(evaluate=EvaluateConfig(slices=(("weather",),))))
