import numpy as np

from schemas.config import SplitConfig
from schemas.tables import DAY_MS
from transforms.split import EVAL, NEITHER, TRAIN, assign_split

DAYS = np.arange(15) * DAY_MS


def test_by_default_days_11_and_12_evaluate_and_later_ones_do_neither():
    assert assign_split(np.arange(15), DAYS, SplitConfig()).tolist() == [TRAIN] * 11 + [EVAL] * 2 + [NEITHER] * 2


def test_a_fraction_of_displays_evaluates_whatever_their_day():
    split = SplitConfig(eval_days=(), eval_fraction=0.2)
    codes = assign_split(np.arange(50_000), np.zeros(50_000, int), split)
    assert abs((codes == EVAL).mean() - 0.2) < 0.01
    assert set(codes.tolist()) == {TRAIN, EVAL}


def test_the_hash_split_depends_on_the_display_alone():
    split = SplitConfig(eval_days=(), eval_fraction=0.5)
    whole = assign_split(np.arange(100), np.zeros(100, int), split)
    assert assign_split(np.arange(50, 100), np.full(50, DAY_MS), split).tolist() == whole[50:].tolist()


def test_days_and_fraction_together():
    split = SplitConfig(eval_days=(1,), eval_fraction=0.5)
    codes = assign_split(np.arange(300), np.repeat([0, 1, 2], 100) * DAY_MS, split)
    assert set(codes[:100].tolist()) == {TRAIN, EVAL}
    assert set(codes[100:200].tolist()) == {EVAL}
    assert set(codes[200:].tolist()) == {NEITHER}
