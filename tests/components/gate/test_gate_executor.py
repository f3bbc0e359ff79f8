import json
from pathlib import Path

import pytest
from tfx.components.pusher.executor import Executor as TfxPusher
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.types import channel, standard_artifacts

from components.artifacts import AuditReport
from components.evaluator.displays import write_displays
from components.evaluator.results import OVERALL, Evaluation
from components.gate import evidence
from components.gate.component import Gate
from components.gate.executor import Executor
from schemas.config import GateConfig
from tests.components.gate.made_up import CLEAN_AUDIT, displays, metrics

GOOD, WORSE = [1.0, 0.5] * 200, [0.5, 0.5] * 200


def artifact(type_, uri, id_=0):
    made = type_()
    made.uri, made.id = str(uri), id_
    Path(uri).mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the Gate's executor on an evaluation of made-up displays; returns the blessing and the model."""

    def run(ap, blessed=None, gate=None):
        table = displays(ap, blessed)
        baseline = None if blessed is None else {OVERALL: metrics(table, "map_at_12_blessed")}
        monkeypatch.setattr(evidence, "read_evaluation", lambda uri: Evaluation({OVERALL: metrics(table)}, baseline))
        evaluation = artifact(standard_artifacts.ModelEvaluation, tmp_path / "evaluation")
        write_displays(table, evaluation.uri, 0, 1)
        model, audit = artifact(standard_artifacts.Model, tmp_path / "model", 7), artifact(AuditReport, tmp_path / "audit")
        (tmp_path / "model" / "replay.json").write_text('{"skew": 1e-7}')
        (tmp_path / "audit" / "audit.json").write_text(json.dumps(CLEAN_AUDIT))
        blessing = artifact(standard_artifacts.ModelBlessing, tmp_path / f"blessing-{len(list(tmp_path.iterdir()))}")
        inputs = {"evaluation": [evaluation], "model": [model], "audit": [audit]}
        if blessed is not None:
            inputs["baseline_model"] = [artifact(standard_artifacts.Model, tmp_path / "old", 3)]
        Executor().Do(inputs, {"blessing": [blessing]}, {"gate": (gate or GateConfig()).model_dump_json()})
        return blessing, model

    return run


def files(blessing):
    return sorted(path.name for path in Path(blessing.uri).iterdir())


def test_blessed(run):
    blessing, model = run(GOOD)
    assert files(blessing) == ["BLESSED", "verdict.json"]
    verdict = json.loads((Path(blessing.uri) / "verdict.json").read_text())
    assert verdict["blessed"] is True
    assert blessing.get_string_custom_property("reasons").splitlines() == verdict["reasons"]
    assert TfxPusher().CheckBlessing({"model_blessing": [blessing]})
    resolved = LatestBlessedModelStrategy().resolve_artifacts(None, {"model": [model], "model_blessing": [blessing]})
    assert resolved == {"model": [model], "model_blessing": [blessing]}
    assert blessing.get_string_custom_property("current_model") == model.uri
    assert not blessing.has_custom_property("baseline_model_id")


def test_refused_without_raising(run):
    blessing, model = run(WORSE)
    assert files(blessing) == ["NOT_BLESSED", "verdict.json"]
    assert "popularity" in blessing.get_string_custom_property("reasons")
    assert not TfxPusher().CheckBlessing({"model_blessing": [blessing]})
    resolved = LatestBlessedModelStrategy().resolve_artifacts(None, {"model": [model], "model_blessing": [blessing]})
    assert resolved == {"model": [], "model_blessing": []}


def test_compares_with_the_baseline(run, tmp_path):
    blessing, _ = run(GOOD, [1.0] * 400)
    assert files(blessing) == ["NOT_BLESSED", "verdict.json"]
    assert blessing.get_int_custom_property("baseline_model_id") == 3
    assert blessing.get_string_custom_property("baseline_model") == str(tmp_path / "old")
    blessing, _ = run(GOOD, [1.0] * 400, GateConfig(max_loss_to_blessed=0.3))
    assert "BLESSED" in files(blessing)


def test_an_eval_split_without_a_click_is_refused(run):
    blessing, _ = run([None] * 20)
    assert files(blessing) == ["NOT_BLESSED", "verdict.json"]
    assert blessing.get_string_custom_property("reasons").startswith("No eval display has a click to judge by.")


def test_component():
    gate = Gate(
        evaluation=channel.Channel(standard_artifacts.ModelEvaluation),
        model=channel.Channel(standard_artifacts.Model),
        audit=channel.Channel(AuditReport),
        gate=GateConfig(max_loss_to_blessed=0.25),
    )
    assert GateConfig.model_validate_json(gate.exec_properties["gate"]).max_loss_to_blessed == 0.25
    assert gate.outputs["blessing"].type is standard_artifacts.ModelBlessing
