import logging
import time

import pytest

from components.training_job.logs import ChiefLog, split_line

T = "2026-01-02T03:04:05"


@pytest.mark.parametrize(
    ("line", "key", "text"),
    [
        (f"{T}.123456789Z hello there", (T, "123456789"), "hello there"),
        (f"{T}.1Z x", (T, "100000000"), "x"),
        (f"{T}Z x", (T, "000000000"), "x"),
        (f"{T}.5+01:00 x", (T, "500000000"), "x"),
        (f"{T}.5Z ", (T, "500000000"), ""),
        ("no time at all", ("", ""), "no time at all"),
    ],
)
def test_the_time_of_a_line(line, key, text):
    assert split_line(line) == (key, text)


def test_a_shorter_fraction_is_not_an_earlier_time():
    assert split_line(f"{T}.09Z a")[0] < split_line(f"{T}.1Z b")[0] < split_line(f"{T}.11Z c")[0]


def relayed(caplog):
    return [record.getMessage() for record in caplog.records]


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_log_that_breaks_off_goes_on_where_it_was(caplog):
    caplog.set_level(logging.INFO)
    reads = iter([[f"{T}.1Z a", f"{T}.2Z b"], [], [f"{T}.1Z a", f"{T}.2Z b", f"{T}.3Z c"]])
    log = ChiefLog(lambda name: iter(next(reads, [])))
    for _ in range(3):
        log.follow("chief", "u", ended=False)
        time.sleep(0.1)
    wait_for(lambda: len(relayed(caplog)) == 3)
    log.close()
    assert relayed(caplog) == ["chief: a", "chief: b", "chief: c"]


def test_all_of_a_pods_log_is_here_when_it_has_ended(caplog):
    caplog.set_level(logging.INFO)
    lines = [f"{T}.1Z a"]
    log = ChiefLog(lambda name: iter(list(lines)))
    log.follow("chief", "u", ended=False)
    wait_for(lambda: relayed(caplog))
    lines.append(f"{T}.2Z the last word")
    log.follow("chief", "u", ended=True)
    log.close()
    assert relayed(caplog) == ["chief: a", "chief: the last word"]


def test_a_pod_in_the_place_of_another_has_a_log_of_its_own(caplog):
    """Its clock may be behind."""
    caplog.set_level(logging.INFO)
    reads = iter([[f"{T}.9Z old"], [f"{T}.1Z new"]])
    log = ChiefLog(lambda name: iter(next(reads, [])))
    log.follow("chief", "u", ended=False)
    wait_for(lambda: relayed(caplog) == ["chief: old"])
    log.follow("chief", "v", ended=False)
    wait_for(lambda: relayed(caplog) == ["chief: old", "chief: new"])
    log.close()


def test_a_log_that_nobody_followed_is_closed_at_once():
    ChiefLog(lambda name: iter([])).close()
