import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.config import load_config, to_yaml
from schemas.config import LossConfig, TrainerConfig
from schemas.errors import ConfigError
from schemas.losses import LOSSES, find_loss

DOC = Path(__file__).parent.parent.parent / "docs" / "losses.md"


def test_names_are_unique_and_found():
    assert [find_loss(loss.name) for loss in LOSSES] == list(LOSSES)


def test_an_unknown_loss():
    with pytest.raises(ValueError, match=r"there are sigmoid_cross_entropy, .*, jrc\. Received: 'softmx'"):
        find_loss("softmx")


def test_every_parameter_is_a_key_and_every_key_a_parameter():
    keys = set(LossConfig.model_fields) - {"name", "weight"}
    assert keys == {name for loss in LOSSES for name in loss.parameters}


def test_parameters_that_are_not_given_take_the_losss_own_defaults():
    assert LossConfig(name="softmax").parameters == {"temperature": 1.0}
    assert LossConfig(name="approx_mrr").parameters == {"temperature": 0.1}
    assert LossConfig(name="focal", alpha=0.25).parameters == {"gamma": 2.0, "alpha": 0.25}
    assert LossConfig(name="focal", gamma=0.0).parameters == {"gamma": 0.0, "alpha": None}
    assert LossConfig(name="l2").parameters == {}


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ("[{name: softmx}]", r"trainer.losses.0: no such loss; there are sigmoid_cross_entropy, .*Received: 'softmx'"),
        ("[{name: l2}, {name: softmax, margin: 1}]", "trainer.losses.1: softmax has no margin; its parameters: temperature$"),
        ("[{name: l2, margin: 0, gamma: 1}]", "trainer.losses.0: l2 has no margin, gamma; its parameters: none$"),
        ("[{name: softmax, temperature: 0}]", "trainer.losses.0.temperature: input should be greater than 0. Received: 0$"),
        ("[{name: l2, weight: 0}]", "trainer.losses.0.weight: input should be greater than 0. Received: 0$"),
        ("[{name: jrc, alpha: 1.5}]", "trainer.losses.0.alpha: input should be less than or equal to 1. Received: 1.5$"),
        ("[{name: l2, wight: 1}]", "unknown config key trainer.losses.0.wight"),
        ("[{name: l2}, {name: l2, weight: 2}]", "trainer: losses: there twice: l2$"),
        ("[]", "trainer.losses: tuple should have at least 1 item"),
    ],
)
def test_losses_that_cannot_be(losses, message):
    with pytest.raises(ConfigError, match=message):
        load_config((), [f"trainer.losses={losses}"])


def test_learned_weights_refuse_negative_losses():
    negative = TrainerConfig(losses=({"name": "softmax"}, {"name": "approx_ndcg"}))
    with pytest.raises(ValidationError, match="needs losses that are never negative, unlike approx_ndcg"):
        TrainerConfig(**(negative.model_dump() | {"loss_weights": "uncertainty"}))


def test_losses_survive_the_configuration_as_yaml(tmp_path):
    config = load_config((), ["trainer.losses=[{name: focal, gamma: 1}, {name: jrc, weight: 2, alpha: 0.1}]"])
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_config([file]) == config
    assert [loss.name for loss in config.trainer.losses] == ["focal", "jrc"]


def test_the_document_has_this_table():
    lines = [line for line in DOC.read_text().splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    expected = []
    for loss in LOSSES:
        parameters = [f"{name} {'none' if value is None else f'{value:g}'}" for name, value in loss.parameters.items()]
        expected.append([f"`{loss.name}`", loss.unit, ", ".join(parameters) or "–", loss.about])
    assert [[name, unit, parameters, about] for name, unit, _, parameters, about in rows] == expected
    assert all(re.fullmatch(r"`.+`", formula) for _, _, formula, _, _ in rows)
