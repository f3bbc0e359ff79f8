import json
import math

import pytest

from components.gate.verdict import decide
from schemas.config import GateConfig

NAN = math.nan


def metrics(own=0.60, popularity=0.55, displays=1000.0, log_loss=0.4):
    return {"map_at_12": own, "map_at_12_popularity": popularity, "map_at_12_displays": displays, "log_loss": log_loss}


@pytest.mark.parametrize(
    ("model", "blessed", "gate", "failed"),
    [
        pytest.param(metrics(), None, {}, [], id="first model"),
        pytest.param(metrics(own=0.5549), None, {}, ["gain_over_popularity"], id="too little above popularity"),
        pytest.param(metrics(own=0.50), None, {}, ["gain_over_popularity"], id="below popularity"),
        pytest.param(metrics(own=0.5), None, {"min_gain_over_popularity": -0.1}, [], id="allowed to be below popularity"),
        pytest.param(metrics(own=0.009, popularity=0.004), None, {}, [], id="bound met but for rounding"),
        pytest.param(metrics(), metrics(), {}, [], id="as good as the blessed"),
        pytest.param(metrics(), metrics(own=0.6001), {}, ["gain_over_blessed"], id="worse than the blessed"),
        pytest.param(metrics(), metrics(own=0.6001), {"max_loss_to_blessed": 0.001}, [], id="a little worse is allowed"),
        pytest.param(metrics(), metrics(own=0.6021), {"max_loss_to_blessed": 0.002}, ["gain_over_blessed"], id="more is not"),
        pytest.param(metrics(own=0.5), metrics(own=0.6), {}, ["gain_over_popularity", "gain_over_blessed"], id="worse than both"),
        pytest.param(metrics(own=0.55), metrics(own=0.5), {}, ["gain_over_popularity"], id="a bad blessed model is no excuse"),
        pytest.param(metrics(displays=0.0), None, {}, ["eval_displays"], id="no display"),
        pytest.param(metrics(own=NAN), None, {}, ["gain_over_popularity"], id="NaN"),
        pytest.param(metrics(own=math.inf), None, {}, ["gain_over_popularity"], id="infinite"),
        pytest.param(metrics(popularity=NAN), None, {}, ["gain_over_popularity"], id="popularity is NaN"),
        pytest.param(metrics(), metrics(own=NAN), {}, ["gain_over_blessed"], id="the blessed is NaN"),
        pytest.param(metrics(), {}, {}, ["gain_over_blessed"], id="the blessed was not evaluated"),
        pytest.param(metrics(log_loss=NAN), None, {}, ["finite_scores"], id="some scores are NaN"),
        pytest.param({}, None, {}, ["eval_displays", "gain_over_popularity"], id="nothing was evaluated"),
    ],
)
def test_decide(model, blessed, gate, failed):
    verdict = decide(model, blessed, GateConfig(**gate))
    assert [check.name for check in verdict.checks if not check.passed] == failed
    assert verdict.blessed == (not failed)
    assert len(verdict.checks) == (3 if blessed is None else 4)
    assert list(verdict.reasons) == [c.sentence for c in verdict.checks if verdict.blessed or not c.passed]


def test_reasons_have_the_numbers():
    verdict = decide(metrics(own=0.551), metrics(own=0.5525), GateConfig(max_loss_to_blessed=0.001))
    assert verdict.reasons == (
        "MAP@12 0.551000 is 0.001000 above the popularity ranking's 0.550000; it must be at least 0.005 above.",
        "MAP@12 0.551000 is 0.001500 below the blessed model's 0.552500; it may be at most 0.001 below.",
    )
    assert decide(metrics(displays=0.0), None, GateConfig()).reasons == ("No eval display has a click to judge by.",)
    assert decide(metrics(displays=1234567.0), None, GateConfig()).reasons[0] == "MAP@12 is over 1,234,567 eval displays."


def test_json_is_strict():
    def refuse(constant):
        raise AssertionError(constant)

    verdict = decide(metrics(own=NAN), None, GateConfig())
    record = json.loads(verdict.to_json(), parse_constant=refuse)
    assert record["blessed"] is False
    assert record["reasons"] == list(verdict.reasons)
    gain = record["checks"][-1]
    assert gain == {
        "name": "gain_over_popularity",
        "value": None,
        "bound": 0.005,
        "passed": False,
        "sentence": "MAP@12 of the model is not a number.",
    }
