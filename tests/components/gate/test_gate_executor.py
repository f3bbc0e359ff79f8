import json
from pathlib import Path

import pytest
from tfx.components.pusher.executor import Executor as TfxPusher
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import channel, standard_artifacts

from components.evaluator.results import OVERALL, Evaluation
from components.gate import executor
from components.gate.component import Gate
from schemas.config import GateConfig
from schemas.errors import ConfigError

GOOD = {"map_at_12": 0.6, "map_at_12_popularity": 0.5, "map_at_12_displays": 10.0}


def artifact(type_, uri, id_=0):
    made = type_()
    made.uri, made.id = str(uri), id_
    return made


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the Gate's executor on made-up metrics; returns the blessing and the model."""

    def run(candidate, baseline=None, baseline_models=(), gate=None):
        made = Evaluation({OVERALL: candidate}, {OVERALL: baseline} if baseline else None)
        monkeypatch.setattr(executor, "read_evaluation", lambda uri: made)
        model = artifact(standard_artifacts.Model, tmp_path / "model", 7)
        blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / "blessing")
        executor.Executor().Do(
            {
                "evaluation": [artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation")],
                "model": [model],
                "baseline_model": list(baseline_models),
            },
            {"blessing": [blessing]},
            {"gate": (gate or GateConfig()).model_dump_json()},
        )
        return blessing, model

    return run


def files(blessing):
    return sorted(path.name for path in Path(blessing.uri).iterdir())


def test_blessed(run):
    blessing, model = run(GOOD)
    assert files(blessing) == ["BLESSED", "verdict.json"]
    assert json.loads((Path(blessing.uri) / "verdict.json").read_text())["blessed"] is True
    assert TfxPusher().CheckBlessing({"model_blessing": [blessing]})
    resolved = LatestBlessedModelStrategy().resolve_artifacts(None, {"model": [model], "model_blessing": [blessing]})
    assert resolved == {"model": [model], "model_blessing": [blessing]}
    assert blessing.get_string_custom_property("current_model") == model.uri
    assert not blessing.has_custom_property("baseline_model_id")


def test_refused_without_raising(run):
    blessing, model = run(GOOD | {"map_at_12": 0.4})
    assert files(blessing) == ["NOT_BLESSED", "verdict.json"]
    assert not TfxPusher().CheckBlessing({"model_blessing": [blessing]})
    resolved = LatestBlessedModelStrategy().resolve_artifacts(None, {"model": [model], "model_blessing": [blessing]})
    assert resolved == {"model": [], "model_blessing": []}


def test_compares_with_the_baseline(run, tmp_path):
    old = artifact(standard_artifacts.Model, tmp_path / "old", 3)
    blessing, _ = run(GOOD, GOOD | {"map_at_12": 0.61}, [old])
    assert files(blessing) == ["NOT_BLESSED", "verdict.json"]
    assert blessing.get_int_custom_property("baseline_model_id") == 3
    assert blessing.get_string_custom_property("baseline_model") == old.uri
    blessing, _ = run(GOOD, GOOD | {"map_at_12": 0.61}, [old], GateConfig(max_loss_to_blessed=0.02))
    assert "BLESSED" in files(blessing)


def test_a_baseline_that_was_not_evaluated_is_a_wiring_error(run, tmp_path):
    with pytest.raises(ConfigError, match="same channel to both"):
        run(GOOD, None, [artifact(standard_artifacts.Model, tmp_path / "old", 3)])


def test_component():
    gate = Gate(
        evaluation=channel.Channel(standard_artifacts.ModelEvaluation),
        model=channel.Channel(standard_artifacts.Model),
        gate=GateConfig(max_loss_to_blessed=0.25),
    )
    assert GateConfig.model_validate_json(gate.exec_properties["gate"]).max_loss_to_blessed == 0.25
    assert gate.outputs["blessing"].type is standard_artifacts.ModelBlessing
