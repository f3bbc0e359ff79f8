import json
import shutil
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import StandardOptions
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.components.pusher.component import Pusher
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts

from components.evaluator.component import Evaluator
from components.gate.component import Gate
from components.pusher.executor import Executor as PusherExecutor
from components.pusher.versions import push, rollback, versions
from components.resolver import LatestBlessedOther
from schemas.config import EvaluateConfig, GateConfig
from schemas.errors import InputDataError
from tests.components.test_pusher import make_model
from tests.components.tiny_nodes import TinyExamples, TinyTrainer

FN_API = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@pytest.fixture
def models(tmp_path):
    """Models 1 to 4 with a folder each."""
    made = {}
    for number in range(1, 5):
        made[number] = standard_artifacts.Model()
        made[number].id, made[number].uri = number, str(tmp_path / str(number))
        Path(made[number].uri).mkdir()
    return made


def resolve(models, candidate, blessings, serving=""):
    """Blessings are (model id, blessed), oldest first; returns the ids of the model and the blessing that are resolved."""
    artifacts = []
    for number, (model, blessed) in enumerate(blessings, 11):
        blessing = standard_artifacts.ModelBlessing()
        blessing.id = number
        blessing.set_int_custom_property("current_model_id", model)
        blessing.set_int_custom_property("blessed", blessed)
        artifacts.append(blessing)
    inputs = {"model": list(models.values()), "model_blessing": artifacts, "candidate": [models[candidate]]}
    resolved = LatestBlessedOther(serving).resolve_artifacts(None, inputs)
    assert resolved["candidate"] == [models[candidate]]
    assert set(resolved) == set(inputs)
    return [a.id for a in resolved["model"]] + [a.id for a in resolved["model_blessing"]]


@pytest.mark.parametrize(
    ("candidate", "blessings", "expected"),
    [
        pytest.param(1, [], [], id="first run"),
        pytest.param(1, [(1, 1)], [], id="first run again"),
        pytest.param(2, [(1, 1)], [1, 11], id="second model"),
        pytest.param(2, [(1, 1), (2, 1)], [1, 11], id="second model again"),
        pytest.param(3, [(1, 1), (2, 1)], [2, 12], id="third model"),
        pytest.param(3, [(1, 1), (2, 0)], [1, 11], id="after a refused one"),
        pytest.param(3, [(2, 0), (1, 0)], [], id="after refused ones only"),
        pytest.param(3, [(1, 1), (2, 1), (1, 1)], [1, 13], id="after an old one was blessed again"),
        pytest.param(1, [(1, 1), (2, 1)], [2, 12], id="back to an old one"),
        pytest.param(2, [(9, 1)], [], id="blessed model is not known"),
    ],
)
def test_resolve(models, candidate, blessings, expected):
    assert resolve(models, candidate, blessings) == expected


def test_a_model_whose_folder_is_gone_is_passed_over(models):
    Path(models[2].uri).rmdir()
    assert resolve(models, 3, [(1, 1), (2, 1)]) == [1, 11]


def test_the_model_in_service_comes_before_a_later_one(models, tmp_path):
    """1 and 2 were pushed, 3 was blessed but could not be served; then 2 was rolled back."""
    blessings, serving = [(1, 1), (2, 1), (3, 1)], str(tmp_path / "serving")
    assert resolve(models, 4, blessings, serving) == [3, 13]  # nothing is in service
    for number in (1, 2):
        push(make_model(Path(models[number].uri, "Format-Serving"), str(number).encode()), serving)
    assert resolve(models, 4, blessings, serving) == [2, 12]
    assert resolve(models, 2, blessings, serving) == [3, 13]  # never the candidate itself
    rollback(serving)
    assert resolve(models, 4, blessings, serving) == [1, 11]
    push(make_model(tmp_path / "of another root", b"x"), serving)
    assert resolve(models, 4, blessings, serving) == [3, 13]


def make_pipeline(root, weight, **gate_settings):
    examples = TinyExamples(displays=20)
    trainer = TinyTrainer(weight=weight)
    baseline = Resolver(
        strategy_class=LatestBlessedOther,
        model=types.Channel(type=standard_artifacts.Model),
        model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        candidate=trainer.outputs["model"],
    ).with_id("baseline")
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        evaluate=EvaluateConfig(slices=()),
    )
    gate = Gate(
        evaluation=evaluator.outputs["evaluation"],
        model=trainer.outputs["model"],
        baseline_model=baseline.outputs["model"],
        gate=GateConfig(min_gain_over_popularity=-1.0, min_calibration=0.0, max_calibration=None, resamples=1000, **gate_settings),
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=gate.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(filesystem={"base_directory": str(root / "serving")}),
        custom_executor_spec=executor_spec.ExecutorClassSpec(PusherExecutor),
    )
    return tfx_pipeline.Pipeline(
        pipeline_name="tiny",
        pipeline_root=str(root / "artifacts"),
        components=[examples, trainer, baseline, evaluator, gate, pusher],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "mlmd.db")),
        # Naming an image, which this runner does not use, keeps TFX from building a package of itself for every Beam job.
        beam_pipeline_args=[f"--runner={FN_API}", "--sdk_container_image=unused"],
    )


class Runs:
    """Runs the tiny pipeline again and again in one metadata store."""

    def __init__(self, root, runner):
        self.root, self.runner = root, runner
        self.seen = 0

    def __call__(self, **arguments):
        """Returns node -> (cached, inputs, outputs as (id, uri) by key) of one run."""
        self.runner.run(make_pipeline(self.root, **arguments))
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.root / "mlmd.db")
        store = metadata_store.MetadataStore(config)
        types_ = {t.id: t.name for t in store.get_execution_types()}
        executions = sorted(store.get_executions(), key=lambda e: e.id)
        nodes = {}
        for execution in executions[self.seen :]:
            assert execution.last_known_state in (execution.COMPLETE, execution.CACHED), types_[execution.type_id]
            sides = {True: {}, False: {}}
            for event in store.get_events_by_execution_ids([execution.id]):
                (artifact,) = store.get_artifacts_by_id([event.artifact_id])
                is_input = event.type in (event.INPUT, event.INTERNAL_INPUT)
                sides[is_input].setdefault(event.path.steps[0].key, []).append((artifact.id, artifact.uri))
            name = types_[execution.type_id].rsplit(".")[-1]
            nodes[name] = (execution.last_known_state == execution.CACHED, sides[True], sides[False])
        self.seen = len(executions)
        return nodes

    def verdict(self, nodes):
        return json.loads(Path(nodes["Gate"][2]["blessing"][0][1], "verdict.json").read_text())


def cached(nodes):
    return {name for name, (is_cached, _, _) in nodes.items() if is_cached} - {"Resolver"}


@pytest.mark.parametrize("runner", [LocalDagRunner, BeamDagRunner])
def test_consecutive_runs_of_a_real_pipeline(runner, tmp_path, monkeypatch):
    """No baseline; unchanged; a new model against the old; a worse one."""
    # BeamDagRunner takes no runner of its own, and the default one tries a download.
    monkeypatch.setattr(StandardOptions, "DEFAULT_RUNNER", FN_API)
    run = Runs(tmp_path, runner())
    work = {"TinyExamples", "TinyTrainer", "Evaluator", "Gate", "Pusher"}

    first = run(weight=4.0)
    assert set(first) == work | {"Resolver"}
    assert cached(first) == set()
    assert "baseline_model" not in first["Evaluator"][1]
    assert "baseline_model" not in first["Gate"][1]
    assert run.verdict(first)["blessed"] is True
    assert {c["name"] for c in run.verdict(first)["checks"]}.isdisjoint({"loss_to_blessed", "worse_slices"})
    (version,) = versions(tmp_path / "serving")

    unchanged = run(weight=4.0)
    assert cached(unchanged) == work
    assert "model" not in unchanged["Resolver"][2]
    assert versions(tmp_path / "serving") == [version]

    second = run(weight=3.0)
    assert cached(second) == {"TinyExamples"}
    assert second["Evaluator"][1]["baseline_model"] == first["TinyTrainer"][2]["model"]
    assert second["Gate"][1]["baseline_model"] == first["TinyTrainer"][2]["model"]
    assert run.verdict(second)["comparison"]["difference"] == 0.0  # another weight ranks the same
    assert run.verdict(second)["blessed"] is True
    assert len(versions(tmp_path / "serving")) == 2

    worse = run(weight=-4.0)
    assert worse["Gate"][1]["baseline_model"] == second["TinyTrainer"][2]["model"]
    assert [c["name"] for c in run.verdict(worse)["checks"] if not c["passed"]] == ["loss_to_blessed"]
    assert "Pusher" in worse
    assert len(versions(tmp_path / "serving")) == 2
    assert cached(run(weight=-4.0)) == work  # against the same baseline: its own refusal changes nothing


@pytest.mark.parametrize("part", ["saved_model.pb", "variables"])
def test_a_half_deleted_blessed_model_refuses_the_next_one_until_that_is_allowed(tmp_path, part):
    run = Runs(tmp_path, LocalDagRunner())
    blessed = Path(run(weight=4.0)["TinyTrainer"][2]["model"][0][1], "Format-Serving", part)
    shutil.rmtree(blessed) if blessed.is_dir() else blessed.unlink()
    verdict = run.verdict(run(weight=3.0))
    assert [c["name"] for c in verdict["checks"] if not c["passed"]] == ["blessed_model"]
    assert str(blessed.parent) in verdict["reasons"][0]
    assert len(versions(tmp_path / "serving")) == 1

    assert run.verdict(run(weight=3.0, allow_unjudged_blessed=True))["blessed"] is True
    assert len(versions(tmp_path / "serving")) == 2


def test_a_half_deleted_evaluation_stops_the_run(tmp_path):
    run = Runs(tmp_path, LocalDagRunner())
    evaluation = Path(run(weight=4.0)["Evaluator"][2]["evaluation"][0][1])
    shutil.rmtree(evaluation / "displays")
    with pytest.raises(InputDataError, match=f"{evaluation}/displays: holds no displays"):
        run(weight=4.0, seed=1)  # another gate, the same evaluation from the cache
    assert len(versions(tmp_path / "serving")) == 1
