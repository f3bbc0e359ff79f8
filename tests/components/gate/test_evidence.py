"""What the gate is given may be empty, damaged, or not belong together: each is told apart, and none is judged."""

import json
import math

import numpy as np
import pytest

from components.evaluator.displays import FOLDER, write_displays
from components.evaluator.results import OVERALL, Evaluation
from components.gate import evidence as module
from components.gate.evidence import read_evidence
from schemas.errors import ConfigError, InputDataError
from tests.components.gate.made_up import CLEAN_AUDIT, displays, evidence, metrics

AP, BLESSED = [1.0, None, 0.5, 1.0], [1.0, None, 1 / 3, 0.5]
PLATFORM = {"event_platform": [1, 2, None, 1]}
SLICES = {(("event_platform", 1),): {}, (("event_platform", 2),): {}}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An evaluation of four displays with a blessed model, a model and an audit; returns what reads them, and where they are."""
    table = displays(AP, BLESSED, PLATFORM)
    write_displays(table, tmp_path / "evaluation", 0, 1)
    made = Evaluation({OVERALL: metrics(table), **SLICES}, {OVERALL: metrics(table, "map_at_12_blessed")})
    monkeypatch.setattr(module, "read_evaluation", lambda folder: made)
    for name, file, content in (("model", "replay.json", {"skew": 2e-7}), ("audit", "audit.json", CLEAN_AUDIT)):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(json.dumps(content))

    def read(has_baseline=True, audit=True):
        return read_evidence(tmp_path / "evaluation", tmp_path / "model", tmp_path / "audit" if audit else None, has_baseline)

    read.folder, read.made = tmp_path, made
    return read


def test_all_that_is_there_is_read(folders):
    found = folders()
    assert found.metrics["map_at_12"] == pytest.approx(2.5 / 3)
    assert found.blessed_metrics["map_at_12"] == pytest.approx((1 + 1 / 3 + 0.5) / 3)
    assert found.displays.num_rows == 4
    assert found.slices == (("event_platform",),)
    assert found.audit == CLEAN_AUDIT
    assert found.replay_skew == 2e-7
    assert folders(has_baseline=False).blessed_metrics is None
    assert folders(audit=False).audit is None


def test_an_evaluation_without_displays(folders):
    (folders.folder / "evaluation" / FOLDER).rename(folders.folder / "gone")
    with pytest.raises(InputDataError, match="holds no displays"):
        folders()


def test_an_evaluation_without_the_blessed_model(folders):
    object.__setattr__(folders.made, "baseline", None)
    with pytest.raises(ConfigError, match="same channel to both"):
        folders()


def test_a_blessed_model_that_could_not_be_judged(folders):
    for name, value in (("baseline", None), ("baseline_problem", "the latest blessed model, /there: damaged")):
        object.__setattr__(folders.made, name, value)
    found = folders()
    assert found.blessed_metrics is None
    assert found.blessed_problem == "the latest blessed model, /there: damaged"


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_audit_names_its_file(folders, content):
    (folders.folder / "audit" / "audit.json").write_text(content)
    with pytest.raises(InputDataError, match=r"audit\.json: "):
        folders()


def test_an_audit_that_is_gone_is_no_clean_audit(folders):
    (folders.folder / "audit" / "audit.json").unlink()
    with pytest.raises(InputDataError, match=r"audit\.json: missing or damaged"):
        folders()


@pytest.mark.parametrize("content", [None, "{}", '{"skew": null}', '{"skew": "small"}'])
def test_a_skew_that_was_not_measured_is_not_known(folders, content):
    report = folders.folder / "model" / "replay.json"
    report.unlink()
    if content is not None:
        report.write_text(content)
    assert math.isnan(folders().replay_skew)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        pytest.param({"blessed": [1.0, 0.5, 1 / 3, None]}, "evaluated on other displays", id="other displays"),
        pytest.param({"own": {"map_at_12": 0.9}}, "its metrics differ for the model: 3 displays", id="another model's displays"),
        pytest.param({"own": {"map_at_12_displays": 4.0}}, "and 4 with 0.833333333", id="displays are missing"),
        pytest.param({"of_blessed": {"map_at_12": 0.9}}, "differ for the blessed model", id="another blessed model's"),
        pytest.param({"blessed": None, "blessed_metrics": {}}, "have no map_at_12_blessed", id="no blessed model's"),
        pytest.param({"blessed_metrics": {}}, "differ for the blessed model: 3 displays with MAP@12 0.6", id="half a baseline"),
        pytest.param({"ap": [1.0, None, math.inf, 1.0]}, "map_at_12 of a display is not a number", id="infinite"),
        pytest.param({"slices": {}, "crossed": [("event_hour",)]}, "lack the slice column event_hour", id="no slice column"),
    ],
)
def test_displays_that_do_not_belong_to_the_metrics(made, message):
    with pytest.raises(InputDataError, match=message) as raised:
        evidence(**{"ap": AP, "blessed": BLESSED, "slices": PLATFORM, "source": "/some/folder", **made})
    assert str(raised.value).startswith("/some/folder: ")
    assert str(raised.value).endswith("; remove this folder and run again")


def test_rounding_of_large_sums_is_no_difference():
    ap = np.random.default_rng(0).choice([1.0, 0.5, 1 / 3], 10_000).tolist()
    evidence(ap, own={"map_at_12": math.fsum(ap) / len(ap)})
