import math

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.trainer.schedules import make_schedule
from schemas.config import OptimizerConfig


def make(rate=8.0, steps_per_epoch=10, total_steps=20, **schedule):
    return make_schedule(OptimizerConfig(name="sgd", learning_rate=rate, schedule=schedule), steps_per_epoch, total_steps)


def rates(steps, **keys):
    schedule = make(**keys)
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def test_cosine_and_polynomial_end_with_the_training():
    assert rates([0, 10, 20, 30], kind="polynomial", total_steps=20) == [8.0, 4.0, 0.0, 0.0]
    assert rates([0, 4, 8, 12], kind="polynomial", total_steps=12, warmup_steps=4) == [0.0, 8.0, 4.0, 0.0]
    assert rates([0, 10, 20], kind="cosine", total_steps=20) == pytest.approx([8.0, 4.0, 0.0])
    assert rates([0, 5], kind="polynomial", total_steps=3, warmup_steps=5) == [
        0.0,
        8.0,
    ]  # a warm-up that is longer than the training


def test_constant_is_a_number():
    assert make() == 8.0


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"warmup_steps": 4}, {0: 0, 1: 2, 2: 4, 3: 6, 4: 8, 5: 8, 10**9: 8}),
        ({"warmup_steps": 1}, {0: 0, 1: 8}),
        ({"warmup_epochs": 0.4}, {0: 0, 1: 2, 3: 6, 4: 8}),
        ({"warmup_epochs": 0.001}, {0: 0, 1: 8}),
        (
            {"kind": "exponential", "decay_steps": 2, "decay_rate": 0.25},
            {0: 8, 1: 4, 2: 2, 3: 1, 4: 0.5},
        ),
        ({"kind": "exponential", "decay_steps": 2, "decay_rate": 0.25, "staircase": True}, {0: 8, 1: 8, 2: 2, 3: 2, 4: 0.5}),
        (
            {"kind": "exponential", "decay_steps": 2, "decay_rate": 0.25, "min_learning_rate": 1.5},
            {0: 8, 1: 4, 2: 2, 3: 1.5, 99: 1.5},
        ),
        ({"kind": "exponential", "decay_epochs": 0.2, "decay_rate": 0.25, "warmup_steps": 2}, {0: 0, 1: 4, 2: 8, 3: 4, 4: 2}),
        ({"kind": "cosine", "decay_steps": 4}, {0: 8, 1: 4 + 4 * math.sqrt(0.5), 2: 4, 3: 4 - 4 * math.sqrt(0.5), 4: 0, 5: 0}),
        ({"kind": "cosine", "decay_steps": 4, "min_learning_rate": 2}, {0: 8, 2: 5, 4: 2, 100: 2}),
        ({"kind": "cosine", "decay_steps": 4, "warmup_steps": 2}, {0: 0, 1: 4, 2: 8, 4: 4, 6: 0}),
        ({"kind": "polynomial", "decay_steps": 4}, {0: 8, 1: 6, 2: 4, 4: 0, 5: 0}),
        ({"kind": "polynomial", "decay_steps": 4, "power": 2, "min_learning_rate": 4}, {0: 8, 2: 5, 3: 4.25, 4: 4, 9: 4}),
        ({"kind": "piecewise", "boundaries": [2, 4], "values": [8, 3, 1]}, {0: 8, 2: 8, 3: 3, 4: 3, 5: 1, 10**9: 1}),
        ({"kind": "piecewise", "boundary_epochs": [0.2, 0.4], "values": [8, 3, 1]}, {2: 8, 3: 3, 4: 3, 5: 1}),
        ({"kind": "piecewise", "boundaries": [1], "values": [2, 1], "warmup_steps": 2}, {0: 0, 1: 4, 2: 2, 3: 2, 4: 1}),
        ({"kind": "piecewise", "boundaries": [0], "values": [8, 1]}, {0: 8, 1: 1}),
    ],
    ids=str,
)
def test_by_hand(keys, expected):
    assert rates(expected, **keys) == pytest.approx(list(expected.values()), rel=1e-6, abs=1e-6)


def test_steps_beyond_what_float32_tells_apart():
    boundary = 2**24
    assert rates([boundary, boundary + 1], kind="piecewise", boundaries=[boundary], values=[8, 1]) == [8, 1]


def test_nvidias_recipe():
    """Warm-up for 6 of 20 epochs, a quarter for half of those left, then an eighth (WideAndDeep, schedulers.py)."""
    keys = {"kind": "piecewise", "warmup_epochs": 6, "boundary_epochs": [7], "values": [2, 1]}
    assert rates([0, 30, 59, 60, 130, 131, 199], **keys) == pytest.approx([0, 4, 8 * 59 / 60, 2, 2, 1, 1])


def test_a_schedule_can_be_traced():
    schedule = make(kind="cosine", decay_steps=4, warmup_steps=2)
    assert float(tf.function(schedule)(tf.Variable(4, dtype=tf.int64))) == pytest.approx(4.0)


SCHEDULES = st.one_of(
    st.fixed_dictionaries({"kind": st.just("constant")}),
    st.fixed_dictionaries(
        {
            "kind": st.just("exponential"),
            "decay_steps": st.integers(1, 100),
            "decay_rate": st.floats(0.01, 1.0),
            "staircase": st.booleans(),
            "min_learning_rate": st.floats(0, 1),
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("cosine"), "decay_epochs": st.floats(0.01, 10.0), "min_learning_rate": st.floats(0, 1)},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("polynomial"),
            "decay_steps": st.integers(1, 100),
            "power": st.floats(0.1, 5.0),
            "min_learning_rate": st.floats(0, 1),
        }
    ),
)
PEAK = 1.0


@settings(deadline=None, max_examples=60)
@given(SCHEDULES, st.integers(1, 50), st.lists(st.integers(0, 400), min_size=2, max_size=8, unique=True).map(sorted))
def test_the_warm_up_rises_and_the_decay_falls_to_its_floor(keys, warmup, steps):
    values = dict(zip(steps, rates(steps, rate=PEAK, warmup_steps=warmup, **keys), strict=True))
    rising = [rate for step, rate in values.items() if step < warmup]
    falling = [rate for step, rate in values.items() if step >= warmup]
    assert rising == sorted(set(rising))
    assert falling == sorted(falling, reverse=True)
    assert all(0.0 <= rate <= PEAK for rate in values.values())
    assert all(rate >= keys.get("min_learning_rate", 0.0) * (1 - 1e-6) - 1e-30 for rate in falling)  # float32
    assert rates([warmup], rate=PEAK, warmup_steps=warmup, **keys) == [PEAK]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"warmup_steps": 1, "warmup_epochs": 1}, "warmup_steps and warmup_epochs are both set; set one"),
        ({"kind": "exponential", "decay_rate": 0.5}, "exponential needs decay_steps or decay_epochs"),
        ({"kind": "exponential", "decay_steps": 1}, "exponential needs decay_rate"),
        ({"kind": "cosine", "decay_steps": 1, "decay_epochs": 1}, "decay_steps and decay_epochs are both set; set one"),
        ({"kind": "cosine", "decay_steps": 1, "power": 1}, "cosine has no power; it is for polynomial"),
        ({"decay_steps": 1}, "constant has no decay_steps; it is for exponential, cosine, polynomial"),
        ({"staircase": True}, "constant has no staircase; it is for exponential"),
        ({"kind": "piecewise", "values": [8]}, "piecewise needs boundaries or boundary_epochs"),
        ({"kind": "piecewise", "boundaries": [1], "values": [8]}, "values are one more than boundaries. Received: 1 and 1"),
        ({"kind": "piecewise", "boundaries": [2, 1], "values": [8, 1, 1]}, "boundaries must ascend. Received: [2, 1]"),
        ({"kind": "piecewise", "boundaries": [2], "values": [7, 1]}, "piecewise starts at learning_rate 8.0"),
        ({"kind": "cosine", "decay_steps": 1, "min_learning_rate": 9}, "schedule.min_learning_rate 9.0 is above learning_rate 8.0"),
    ],
    ids=str,
)
def test_what_cannot_work_is_named(keys, message):
    with pytest.raises(ValidationError) as error:
        make(**keys)
    assert message in str(error.value)
