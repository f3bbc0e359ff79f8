import io
import sys

import pytest
import tensorflow as tf

from components.trainer import check
from components.trainer.model import build_model
from schemas import features
from schemas.config import Config
from schemas.errors import ConfigError

SMALL = {"encoding": {"max_buckets": 20}, "model": {"hidden_units": [4], "max_embedding_dim": 2}}


def config(**trainer):
    return Config.model_validate({**SMALL, "trainer": trainer})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint of the small model."""
    model = build_model(features.model_inputs(max_buckets=20, max_embedding_dim=2), config().model)
    return tf.train.Checkpoint(model=model).write(str(tmp_path_factory.mktemp("saved") / "best-1"))


def test_a_model_that_can_be_started(saved):
    check.check_model(config(warm_start=saved))


def test_a_checkpoint_of_another_model(saved):
    other = config(warm_start=saved).model_copy(update={"model": config().model.model_copy(update={"hidden_units": (4, 4)})})
    with pytest.raises(ConfigError, match="warm_start"):
        check.check_model(other)


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        check.check_model(config(warm_start=str(tmp_path / "nowhere")))


def test_what_needs_no_look():
    assert not check.needs_check(config())
    assert not check.needs_check(config(warm_start="latest_blessed"))
    assert check.needs_check(config(warm_start="somewhere"))


def test_as_a_program(monkeypatch, capsys, tmp_path):
    for given, code in ((config(), 0), (config(warm_start=str(tmp_path / "nowhere")), 2)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(given.model_dump_json()))
        assert check.main() == code
    assert "nowhere" in capsys.readouterr().out
