import math
from types import SimpleNamespace

import pytest
import tensorflow as tf

from components.trainer.evaluation import EvalMetrics
from components.trainer.loop import Loop, Progress, fit
from schemas.config import TrainerConfig
from schemas.errors import ClickrankError, TransientError


class FakeReader:
    """Two steps an epoch, of 4 rows and of 1."""

    steps_per_epoch = 2

    def __init__(self):
        self.calls = []

    def epoch(self, seed, skip):
        self.calls.append((seed, skip))
        return iter([4.0, 1.0][skip:])


class FakeCheckpoints:
    def __init__(self, due=()):
        self.saved, self.best, self.due = [], [], due

    def is_due(self, step):
        return step in self.due

    def save(self, step):
        self.saved.append(step)

    def save_best(self, step):
        self.best.append(step)


def metrics(value, log_loss=0.5):
    return EvalMetrics(value, 0.5, log_loss, 0.6, 1.0)


def run(losses=(1.0,) * 100, maps=(0.5,) * 100, *, progress=None, due=(), chief=True, stop_at=None, **config):
    losses, maps = iter(losses), iter(maps)
    reader, checkpoints, records, steps = FakeReader(), FakeCheckpoints(due), [], []

    def step(batches, number):
        return tf.constant(next(losses)), tf.constant(batches[0])

    loop = Loop(
        config=TrainerConfig(**{"num_epochs": 3, **config}),
        train_step=step,
        evaluate=lambda: m if isinstance(m := next(maps), EvalMetrics) else metrics(m),
        readers=[reader],
        checkpoints=checkpoints,
        progress=progress or Progress(),
        learning_rates=lambda: (0.1, 0.2),
        is_chief=chief,
        on_epoch=records.append,
        on_steps=lambda done, total: steps.append((done, total)),
        stop_requested=lambda: stop_at is not None and bool(steps) and steps[-1][0] >= stop_at,
    )
    out = SimpleNamespace(loop=loop, reader=reader, checkpoints=checkpoints, records=records, steps=steps)
    try:
        out.progress = fit(loop)
    except ClickrankError as error:
        out.error, out.progress = error, loop.progress
    return out


def test_the_best_by_map_is_kept():
    done = run([1.0, 2.0] * 3, [0.5, 0.7, 0.6])
    assert done.checkpoints.best == [2, 4]
    assert (done.progress.best, done.progress.best_step) == (0.7, 4)
    assert done.checkpoints.saved == [6]
    assert [r.step for r in done.records] == [2, 4, 6]
    assert done.records[0].train_loss == pytest.approx((4 * 1.0 + 1 * 2.0) / 5)
    assert done.records[0].as_dict()["map_at_12"] == 0.5
    assert done.progress.history == [r.as_dict() for r in done.records]
    assert done.steps == [(i, 6) for i in range(1, 7)]


def test_every_epoch_has_an_order_of_its_own():
    assert run(seed=10).reader.calls == [(11, 0), (12, 0), (13, 0)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step(bad):
    done = run([1.0, 1.0, 1.0, bad])
    assert "step 4 (epoch 2)" in str(done.error)
    assert type(done.error) is ClickrankError
    assert done.checkpoints.saved == []


def test_an_eval_loss_that_is_not_finite_stops():
    assert "eval log loss is nan after step 2" in str(run(maps=[metrics(0.5, math.nan)]).error)


def test_num_steps_ends_in_the_middle_of_an_epoch_with_an_evaluation():
    done = run(maps=[0.5, 0.6], num_steps=3)
    assert [(r.step, r.metrics is not None) for r in done.records] == [(2, True), (3, True)]
    assert done.progress.best_step == 3


def test_num_steps_may_be_more_than_num_epochs():
    assert run(num_steps=9).progress.step == 9


def test_eval_interval_and_the_last_epoch():
    done = run(maps=[0.5, 0.6, 0.7], num_epochs=5, eval_interval=2)
    assert [r.epoch for r in done.records if r.metrics] == [2, 4, 5]
    assert "map_at_12" not in done.records[0].as_dict()


def test_early_stopping():
    done = run(maps=[0.5, 0.6, 0.59, 0.6, 0.7], num_epochs=10, early_stopping_patience=2)
    assert done.progress.step == 8  # two evaluations without a better one
    assert done.progress.best_step == 4


def test_a_gain_below_the_delta_is_the_best_but_does_not_count_for_the_patience():
    done = run(maps=[0.5, 0.501, 0.502], num_epochs=10, early_stopping_patience=2, early_stopping_min_delta=0.01)
    assert (done.progress.step, done.progress.best_step) == (6, 6)


def test_without_a_clicked_display_the_latest_is_the_best():
    assert run(maps=[math.nan] * 3).progress.best_step == 6


def test_checkpoints_when_due():
    assert run(due=(1, 3, 4)).checkpoints.saved == [1, 3, 4, 6]


def test_only_the_chief_writes():
    done = run(due=(1, 3), chief=False, stop_at=1)
    assert done.checkpoints.saved == done.checkpoints.best == []
    assert done.progress.step == 6


def test_stopping_saves_first():
    done = run(stop_at=3)
    assert isinstance(done.error, TransientError)
    assert done.error.exit_code == 75
    assert done.checkpoints.saved == [3]
    assert (done.progress.epoch, done.progress.epoch_step, done.progress.rows) == (2, 1, 4.0)


def test_going_on_gives_what_an_uninterrupted_run_gives():
    losses = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    whole = run(losses, [0.5, 0.7, 0.6])
    stopped = run(losses, [0.5], stop_at=3)
    saved = Progress()
    saved.deserialize(stopped.progress.serialize())
    resumed = run(losses[3:], [0.7, 0.6], progress=saved)
    assert resumed.reader.calls == [(2, 1), (3, 0)]
    drop = ("seconds", "rows_per_second")
    histories = [[{k: v for k, v in r.items() if k not in drop} for r in d.progress.history] for d in (whole, resumed)]
    assert histories[0] == histories[1]
    assert resumed.progress.best_step == whole.progress.best_step


def test_a_training_that_is_done_does_nothing():
    saved = run().progress
    again = run(losses=[], maps=[], progress=saved)
    assert again.steps == []
