"""What the process that loads a model finds, step by step; run in this process."""

import math
import shutil

import pytest
import tensorflow as tf

from components.infra_validator.probe import probe
from components.infra_validator.report import Check, latency
from tests.components.saved_models import pop_ad_id, save_contract, save_scorer


def example(value):
    return tf.train.Example(features={"feature": {"pop_ad_id": {"float_list": {"value": [value]}}}}).SerializeToString()


DISPLAYS = [[example(0.1), example(0.9), example(0.1)], [example(0.5)], [example(1.0), example(0.0)]]


def found(model):
    """Names of the passed checks, the failed one's name and sentence, latency."""
    record = {}
    for _ in probe(str(model), DISPLAYS, record):
        pass
    checks = [Check(**check) for check in record["checks"]]
    failed = [(c.name, c.sentence) for c in checks if not c.passed]
    return [c.name for c in checks if c.passed], failed, record.get("latency_ms")


def test_a_good_model(tmp_path):
    passed, failed, latency_ms = found(save_contract(tmp_path))
    assert (passed, failed) == (["load", "signatures", "scores"], [])
    assert 0 < latency_ms["p50"] <= latency_ms["p99"]
    assert latency_ms["calls"] == 500


@pytest.mark.parametrize("missing", ["variables", "saved_model.pb"])
def test_a_model_that_is_half_there(tmp_path, missing):
    save_contract(tmp_path)
    path = tmp_path / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    passed, [(name, sentence)], _ = found(tmp_path)
    assert (passed, name) == ([], "load")
    assert sentence.startswith("The model cannot be loaded: ")


def test_signatures(tmp_path):
    passed, [(name, sentence)], _ = found(save_contract(tmp_path / "a", leave_out="serving_default"))
    assert (passed, name) == (["load"], "signatures")
    assert sentence.endswith("the model has no signature 'serving_default'. Received: ['rank'].")
    _, [(_, sentence)], _ = found(save_scorer(tmp_path / "b"))
    assert "no signature 'rank'" in sentence
    _, [(_, sentence)], _ = found(save_contract(tmp_path / "c", lambda e: tf.cast(pop_ad_id(e), tf.float64)))
    assert "'score': ('float32', (None,))" in sentence
    assert "Received: {'score': ('float64', (None,))}" in sentence
    _, [(_, sentence)], _ = found(save_contract(tmp_path / "d", lambda e: pop_ad_id(e)[:, None], rank=lambda s: s[:, 0]))
    assert "Received: {'score': ('float32', (None, 1))}" in sentence


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (lambda e: pop_ad_id(e) / 0 * 0, "Every score must be a number from 0 to 1. Received: nan for display 1 of 3."),
        (
            lambda e: tf.where(pop_ad_id(e) == 1.0, 1.5, 0.5),
            "Every score must be a number from 0 to 1. Received: 1.5 for display 3 of 3.",
        ),
        (lambda e: tf.where(pop_ad_id(e) == 0.0, -0.5, 0.5), "Received: -0.5 for display 3 of 3."),
        (lambda e: tf.where(pop_ad_id(e) > 0, 0.5, math.nan), "Received: nan for display 3 of 3."),
        (
            lambda e: tf.where(tf.equal(e, ""), math.nan, 0.5),
            "Received: nan for an Example without any feature.",
        ),
        (lambda e: pop_ad_id(e) / tf.cast(tf.size(e), tf.float32), "of display 1 of 3 differ by 0.17 when it is asked alone"),
        (lambda e: pop_ad_id(e)[:1], "There must be one score for each ad. Received: shape (1,) for 7 ads."),
        (
            lambda e: tf.io.parse_example(e, {"pop_ad_id": tf.io.FixedLenFeature([], tf.float32)})["pop_ad_id"],
            "The model cannot answer: InvalidArgumentError: ",
        ),
        (
            lambda e: tf.reduce_max(tf.zeros([tf.size(e), 1 << 22, 1 << 22]), [1, 2]),
            "The model cannot answer: ResourceExhaustedError: ",
        ),
    ],
    ids=[
        "NaN",
        "above 1",
        "below 0",
        "NaN for some",
        "nothing given",
        "depends on the others",
        "too few",
        "wants a feature",
        "memory",
    ],
)
def test_wrong_scores(score, sentence, tmp_path):
    passed, [(name, said)], latency_ms = found(save_contract(tmp_path, score))
    assert (passed, name, latency_ms) == (["load", "signatures"], "scores", None)
    assert sentence in said
    assert "\n" not in said


def test_wrong_ranks(tmp_path):
    _, [(_, sentence)], _ = found(save_contract(tmp_path / "a", rank=lambda s: tf.argsort(tf.argsort(s)) + 1))
    assert sentence == "The ranks of display 1 of 3 are not those of its scores."
    last_first = lambda s: tf.size(s) - tf.argsort(tf.argsort(s, stable=True))  # noqa: E731  of equals, the last given
    _, [(_, sentence)], _ = found(save_contract(tmp_path / "b", rank=last_first))
    assert sentence == "The ranks of display 1 of 3 are not those of its scores."


def test_percentiles_are_by_nearest_rank():
    assert latency([i / 1000 for i in range(100, 0, -1)]) == {"p50": 50.0, "p99": 99.0, "calls": 100}
    assert latency([0.002]) == {"p50": 2.0, "p99": 2.0, "calls": 1}
    assert latency([0.001, 0.002, 0.003])["p99"] == 3.0
