import json
import math

import numpy as np
import pytest

from components.gate.verdict import decide
from schemas.config import GateConfig
from tests.components.gate.made_up import CLEAN_AUDIT, evidence

NAN = math.nan
HALF = [1.0, 0.5] * 500  # MAP@12 0.75
NONE = [None] * 10


def failed(verdict):
    return [check.name for check in verdict.checks if not check.passed]


def leaks(*names, history="past"):
    probes = [{"feature": name, "gap": 0.03, "allowed": 0.015, "verdict": "FAIL"} for name in names]
    return {"history": history, "probes": [*probes, *CLEAN_AUDIT["probes"]]}


@pytest.mark.parametrize(
    ("known", "gate", "expected"),
    [
        pytest.param({}, {}, [], id="good"),
        pytest.param({"own": {"map_at_12_popularity": 0.7451}}, {}, ["gain_over_popularity"], id="too little above popularity"),
        pytest.param({"own": {"map_at_12_popularity": 0.8}}, {}, ["gain_over_popularity"], id="below popularity"),
        pytest.param({"own": {"map_at_12_popularity": 0.8}}, {"min_gain_over_popularity": -0.1}, [], id="below is allowed"),
        pytest.param({"own": {"map_at_12_popularity": 0.745}}, {}, [], id="bound met but for rounding"),
        pytest.param({"own": {"map_at_12_popularity": NAN}}, {}, ["gain_over_popularity"], id="popularity is NaN"),
        pytest.param({"own": {"log_loss": NAN}}, {}, ["finite_scores"], id="some scores are NaN"),
        pytest.param({"own": {"calibration": 0.79}}, {}, ["calibration"], id="scores too low"),
        pytest.param({"own": {"calibration": 1.26}}, {}, ["calibration"], id="scores too high"),
        pytest.param({"own": {"calibration": 0.8}}, {}, [], id="scores as low as may be"),
        pytest.param({"own": {"calibration": 9.0}}, {"max_calibration": None}, [], id="no upper bound"),
        pytest.param({"own": {"calibration": NAN}}, {"max_calibration": None}, ["calibration"], id="calibration is NaN"),
        pytest.param({"own": {"calibration": math.inf}}, {"max_calibration": None}, ["calibration"], id="no share of clicks"),
        pytest.param({"audit": None}, {}, [], id="not audited"),
        pytest.param({"audit": leaks("popularity")}, {}, ["leaking_features"], id="a leak"),
        pytest.param({"audit": leaks(history="all")}, {}, ["leaking_features"], id="rows see their own labels"),
        pytest.param({"audit": {**CLEAN_AUDIT, "probes": []}}, {}, ["leaking_features"], id="nothing was audited"),
        pytest.param({"replay_skew": 1.1e-5}, {}, ["replay_skew"], id="skewed export"),
        pytest.param({"replay_skew": 1e-5}, {}, [], id="skew at the bound"),
        pytest.param({"replay_skew": NAN}, {}, ["replay_skew"], id="skew is not known"),
    ],
)
def test_a_first_model_is_judged_by_itself(known, gate, expected):
    verdict = decide(evidence(HALF, **known), GateConfig(**gate))
    assert failed(verdict) == expected
    assert verdict.blessed == (not expected)
    assert len(verdict.checks) == 6
    assert verdict.comparison is None
    assert verdict.slices == ()
    assert list(verdict.reasons) == [c.sentence for c in verdict.checks if verdict.blessed or not c.passed]
    assert all(reason.endswith(".") and "\n" not in reason for reason in verdict.reasons)


@pytest.mark.parametrize("clickless", [[], NONE], ids=["no display", "no click"])
@pytest.mark.parametrize("blessed", [False, True])
def test_nothing_to_judge_by(clickless, blessed):
    verdict = decide(evidence(clickless, clickless if blessed else None, slices={"event_platform": clickless}), GateConfig())
    assert not verdict.blessed
    assert verdict.reasons[0] == "No eval display has a click to judge by."
    assert ("loss_to_blessed" in failed(verdict)) == blessed
    assert verdict.comparison is verdict.map_at_12 is None
    json.loads(verdict.to_json())


def test_every_metric_missing_or_nan():
    for value in (NAN, None):
        nothing = dict.fromkeys(("map_at_12", "map_at_12_popularity", "log_loss", "calibration", "map_at_12_displays"), value)
        known = evidence(NONE, NONE, metrics={k: v for k, v in nothing.items() if v is not None and k != "map_at_12_displays"})
        assert failed(decide(known, GateConfig())) == [
            *("eval_displays", "finite_scores", "gain_over_popularity", "loss_to_blessed", "calibration")
        ]


def test_the_very_same_model_is_as_good_as_itself():
    verdict = decide(evidence(HALF, HALF, slices={"event_platform": [1, 2] * 500}), GateConfig())
    assert verdict.blessed
    compared = verdict.comparison
    assert (compared.difference, compared.lower, compared.upper, compared.margin, compared.p_value) == (0, 0, 0, 0, 1)
    assert [one.p_value for one in verdict.slices] == [1.0, 1.0]


def changed(lost, won=0, displays=1000):
    """A model that ranks the clicked ad second, not first, on `lost` displays, and the other way round on `won` others."""
    blessed = np.r_[np.ones(lost), np.full(won, 0.5), np.ones(displays - lost - won)]
    return np.r_[np.full(lost, 0.5), np.ones(won), np.ones(displays - lost - won)].tolist(), blessed.tolist()


@pytest.mark.parametrize(
    ("lost", "won", "gate", "blessed"),
    [
        pytest.param(0, 100, {}, True, id="better"),
        pytest.param(100, 0, {}, False, id="worse"),
        pytest.param(105, 95, {}, True, id="by chance"),  # -0.005, error 0.5 * 200 ** 0.5 / 1000 = 0.0071
        pytest.param(115, 85, {}, False, id="more than chance"),  # -0.015
        pytest.param(115, 85, {"max_loss_to_blessed": 0.025}, False, id="more than allowed"),  # lower bound -0.015 - 0.0116
        pytest.param(115, 85, {"max_loss_to_blessed": 0.028}, True, id="allowed"),
        pytest.param(105, 95, {"max_chance_loss": 0.0}, False, id="chance is no excuse"),
        pytest.param(130, 70, {"max_chance_loss": 0.0}, False, id="worse, and chance no excuse"),
        pytest.param(70, 130, {"max_chance_loss": 0.0}, True, id="better beyond chance"),
        pytest.param(105, 95, {"max_chance_loss": 0.01}, False, id="too few displays to tell"),
        pytest.param(115, 85, {"confidence": 0.999}, True, id="not surely worse"),
    ],
)
def test_no_worse_than_the_blessed_model(lost, won, gate, blessed):
    verdict = decide(evidence(*changed(lost, won)), GateConfig(**gate))
    assert failed(verdict) == ([] if blessed else ["loss_to_blessed"])
    (check,) = [check for check in verdict.checks if check.name == "loss_to_blessed"]
    assert check.passed == (check.value >= check.at_least)
    assert (check.value, check.at_least) == (verdict.comparison.lower, -verdict.comparison.margin)


def test_a_blessed_model_that_is_nan_or_was_not_measured():
    verdict = decide(evidence(HALF, HALF, of_blessed={"map_at_12": NAN}), GateConfig())
    assert failed(verdict) == ["loss_to_blessed"]
    assert verdict.reasons == ("MAP@12 of the blessed model is not a number.",)


def test_a_blessed_model_that_cannot_be_judged_is_not_one_that_is_not_there():
    known = evidence(HALF, blessed_problem="the latest blessed model, /some/model/saved_model.pb: No such file or directory")
    verdict = decide(known, GateConfig())
    assert failed(verdict) == ["blessed_model"]
    assert verdict.reasons == (
        "No comparison with the latest blessed model, /some/model/saved_model.pb: No such file or directory "
        "(to let a model out as the first one is, set gate.allow_unjudged_blessed).",
    )
    allowed = decide(known, GateConfig(allow_unjudged_blessed=True))
    assert allowed.blessed
    assert any("(allowed by gate.allow_unjudged_blessed)" in reason for reason in allowed.reasons)


def test_a_bad_blessed_model_is_no_excuse():
    verdict = decide(evidence(HALF, [0.2] * 1000, own={"map_at_12_popularity": 0.8}), GateConfig())
    assert failed(verdict) == ["gain_over_popularity"]


def test_the_slice_that_got_worse_is_named():
    ap, blessed = changed(60, 60)
    platform = [2] * 60 + [1] * 60 + [2] * 240 + [1] * 640  # all 60 losses and no gain are on platform 2
    verdict = decide(evidence(ap, blessed, slices={"event_platform": platform}), GateConfig())
    assert failed(verdict) == ["worse_slices"]
    assert verdict.reasons[0].startswith(
        "Significantly worse than with the blessed model, 1 of 2 slices with at least 200 displays: "
        "event_platform=2 (by 0.100000 on 300 displays, adjusted p "
    )
    worst = verdict.slices[0]
    assert (worst.slice, worst.displays, worst.significant) == ("event_platform=2", 300, True)
    assert worst.difference == pytest.approx(-0.1)
    assert worst.lower < worst.difference < worst.upper < 0
    assert decide(evidence(ap, blessed, slices={"event_platform": platform}), GateConfig(min_slice_displays=301)).blessed
    assert decide(evidence(ap, blessed, slices={"event_platform": platform}), GateConfig(max_loss_to_blessed=0.09)).blessed


def test_reasons_have_the_numbers():
    assert decide(evidence(HALF), GateConfig()).reasons == (
        "MAP@12 is over 1,000 eval displays.",
        "All scores are numbers.",
        "MAP@12 0.750000 is 0.250000 above the popularity ranking's 0.500000; it must be at least 0.005 above.",
        "The mean score is 1.000 times the share of clicks; it must be from 0.8 to 1.25.",
        "The audit of 1 features found no leak.",
        "Scores of the exported model differ from the trained one's by at most 1.0e-07; 1e-05 is allowed.",
    )
    verdict = decide(evidence(*changed(100), audit=leaks("a", "b")), GateConfig())
    margin = verdict.comparison.margin
    assert verdict.reasons == (
        "MAP@12 0.950000 is 0.050000 below the blessed model's 1.000000, at 95% confidence at worst "
        f"{-verdict.comparison.lower:.6f} below; {margin:.6f} below may be chance on 1,000 displays.",
        "The audit found 2 of 3 features that know their own rows' labels: a (AUC gap 0.0300, allowed 0.0150), "
        "b (AUC gap 0.0300, allowed 0.0150).",
    )
    capped = decide(evidence(*changed(100)), GateConfig(max_chance_loss=0.01))
    assert capped.reasons[0].endswith(f"{margin:.6f} below may be chance on 1,000 displays, and 0.01 is let pass.")
    assert margin == pytest.approx(2 * 1.645 * 0.5 * (0.1 * 0.9 / 1000) ** 0.5, rel=0.05)


def test_json_is_strict():
    def refuse(constant):
        raise AssertionError(constant)

    verdict = decide(evidence(*changed(50, 50), slices={"event_platform": [1] * 1000}, replay_skew=NAN), GateConfig())
    record = json.loads(verdict.to_json(), parse_constant=refuse)
    assert list(record) == ["blessed", "reasons", "checks", "map_at_12", "comparison", "slices"]
    assert record["blessed"] is False
    assert record["reasons"] == list(verdict.reasons)
    assert record["checks"][-1] == {
        "name": "replay_skew",
        "value": None,
        "at_least": None,
        "at_most": 1e-05,
        "passed": False,
        "sentence": "It is not known how far the exported model's scores are from the trained one's: train it again.",
    }
    assert set(record["comparison"]) >= {
        *("difference", "lower", "upper", "confidence", "detectable_difference", "displays", "resamples", "seed")
    }
    assert set(record["slices"][0]) == {
        *("slice", "displays", "difference", "lower", "upper", "p_value", "adjusted_p_value", "significant")
    }
    assert record["map_at_12"]["displays"] == 1000
    assert record["map_at_12"]["lower"] < record["map_at_12"]["value"] < record["map_at_12"]["upper"]


def test_a_verdict_is_repeatable():
    known = evidence(*changed(50, 40), slices={"event_platform": [1, 2] * 500})
    assert decide(known, GateConfig()).to_json() == decide(known, GateConfig()).to_json()
    assert decide(known, GateConfig()).comparison.lower != decide(known, GateConfig(seed=1)).comparison.lower


def test_calibration_bounds_the_wrong_way_round():
    with pytest.raises(ValueError, match=r"min_calibration 2 is above max_calibration 1\.25"):
        GateConfig(min_calibration=2.0)
