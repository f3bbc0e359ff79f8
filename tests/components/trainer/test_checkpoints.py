import logging

import pytest
import tensorflow as tf

from components.trainer.checkpoints import Checkpoints
from components.trainer.loop import Progress
from schemas.errors import ClickrankError


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def make(tmp_path):
    def make(**more):
        w, progress = tf.Variable([0.0, 0.0]), Progress()
        options = {"keep": 2, **more}
        checkpoints = Checkpoints(
            str(tmp_path / "c"), tf.train.Checkpoint(w=w, progress=progress), tf.train.Checkpoint(w=w), **options
        )
        return checkpoints, w, progress

    return make


def save(checkpoints, w, progress, step):
    w.assign([step, -step])
    progress.step = step
    checkpoints.save(step)


def files(tmp_path):
    return sorted(path.stem for path in (tmp_path / "c").glob("*.index"))


def test_nothing_to_restore(make):
    assert make()[0].restore() is None


def test_the_newest_is_restored_with_its_position(make):
    first = make()
    for step in (3, 20, 100):  # by number, not by name
        save(*first, step)
    first[2].history.append({"map_at_12": float("nan")})
    save(*first, 101)
    checkpoints, w, progress = make()
    assert checkpoints.restore() == 101
    assert w.numpy().tolist() == [101, -101]
    assert (progress.step, len(progress.history)) == (101, 1)


def test_no_more_than_keep_stay(make, tmp_path):
    parts = make(keep=2)
    for step in range(1, 6):
        save(*parts, step)
    assert files(tmp_path) == ["step-4", "step-5"]


def test_the_best_that_a_checkpoint_may_go_back_to_stays(make, tmp_path):
    checkpoints, w, progress = make(keep=2)
    for step in range(1, 7):
        if step in (1, 2, 4):
            checkpoints.save_best(step)
        save(checkpoints, w, progress, step)
    # After step 5 the best was 4, and so it was after step 6.
    assert files(tmp_path) == ["best-4", "step-5", "step-6"]
    checkpoints.save_best(7)
    assert "best-4" in files(tmp_path)  # until the next full checkpoint, 4 is what a restart knows


@pytest.mark.parametrize("part", ["data", "index"])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: bytes(x ^ 0xFF for x in b), lambda b: b""])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(make, tmp_path, part, damage, caplog):
    first = make()
    save(*first, 1)
    save(*first, 2)
    (file,) = (tmp_path / "c").glob(f"step-2.{part}*")
    file.write_bytes(damage(file.read_bytes()))
    checkpoints, w, progress = make()
    with caplog.at_level(logging.WARNING):
        assert checkpoints.restore() == 1
    assert "step-2: cannot be read" in caplog.text
    assert (w.numpy().tolist(), progress.step) == ([1, -1], 1)


def test_if_all_are_damaged_training_does_not_start_over_silently(make, tmp_path):
    first = make()
    save(*first, 1)
    save(*first, 2)
    for file in (tmp_path / "c").glob("*.data*"):
        file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ClickrankError, match="none of 2 checkpoints"):
        make()[0].restore()


def test_a_save_that_was_cut_short_is_no_checkpoint(make, tmp_path):
    first = make()
    save(*first, 1)
    (tmp_path / "c" / "step-2.data-00000-of-00001").write_bytes(b"half")
    (tmp_path / "c" / "step-2_temp").mkdir()
    assert make()[0].restore() == 1


def test_when_a_checkpoint_is_due(make):
    clock = Clock()
    checkpoints, w, progress = make(save_steps=5, save_secs=60, clock=clock)
    assert [step for step in range(1, 12) if checkpoints.is_due(step)] == [5, 10]
    clock.now = 60
    assert checkpoints.is_due(11)
    save(checkpoints, w, progress, 11)
    assert not checkpoints.is_due(12)
    assert not make(clock=clock)[0].is_due(5)
