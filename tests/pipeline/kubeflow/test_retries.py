"""Which failures are tried again, how often, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kubeflow.errors import CallError
from pipeline.kubeflow.retries import Retries
from schemas.errors import RemoteError, TransientError


def failing(times, *, again=True, wait=None):
    """An operation that fails so often and then gives how often it was called."""
    calls = []

    def operation():
        calls.append(1)
        if len(calls) <= times:
            error = TransientError("busy") if again else RemoteError("no")
            raise CallError(error, again=again, wait=wait)
        return len(calls)

    return operation, calls


@pytest.mark.parametrize(("limit", "times", "calls"), [(0, 0, 1), (2, 1, 2), (2, 2, 3), (5, 5, 6)])
def test_what_passes_within_the_limit_goes_through(patience, limit, times, calls):
    operation, _ = failing(times)
    assert Retries(limit, 1.0, sleep=patience.slept.append).persist(operation) == calls
    assert len(patience.slept) == times


@pytest.mark.parametrize(("limit", "message"), [(0, "^busy$"), (3, "^busy; 4 tries$")])
def test_what_does_not_pass_is_told_with_the_number_of_tries(patience, limit, message):
    operation, calls = failing(99)
    with pytest.raises(TransientError, match=message):
        Retries(limit, 1.0, sleep=patience.slept.append).persist(operation)
    assert len(calls) == limit + 1


def test_what_another_try_cannot_help_is_not_tried_again(patience):
    operation, calls = failing(1, again=False)
    with pytest.raises(RemoteError, match=r"^no$"):
        patience.retries.persist(operation)
    assert (len(calls), patience.slept) == (1, [])


def test_an_error_that_is_none_of_a_call_passes_through(patience):
    with pytest.raises(ZeroDivisionError):
        patience.retries.persist(lambda: 1 / 0)
    assert patience.slept == []


def test_the_pauses_double_up_to_thirty_seconds(patience):
    assert [patience.retries.pause(retry, None) for retry in range(7)] == [1, 2, 4, 8, 16, 30, 30]


@given(st.integers(0, 60), st.floats(0.01, 60), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e9))
def test_a_pause_is_half_of_the_back_off_or_more_and_what_was_asked_for_within_two_minutes(retry, backoff, share, asked):
    pause = Retries(9, backoff, share=lambda: share).pause(retry, asked)
    longest = min(30.0, backoff * 2.0**retry)
    assert longest / 2 <= pause <= max(longest, min(asked or 0, 120))
    assert pause >= min(asked or 0, 120)


def test_two_clients_do_not_pause_alike():
    pauses = {Retries(9, 1.0).pause(4, None) for _ in range(20)}
    assert len(pauses) > 10
    assert all(8 <= pause <= 16 for pause in pauses)
