"""Whatever a library says when the disk is full, it becomes one line with the path and the exit code for trying again."""

import errno

import pytest

from schemas.errors import InputDataError, TransientError, recover


@pytest.mark.parametrize(
    ("error", "path"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/root/a b.csv"), "/root/a b.csv"),
        (OSError(errno.ENOSPC, "No space left on device", "/source", None, "/target"), "/target"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "WHERE"),
        (RuntimeError("Error when executing query: database or disk is full query: COMMIT;"), "WHERE"),
        (
            RuntimeError("x.ResourceExhaustedError: /r o/model.pb; No space left on device [while running 'Write/To']"),
            "/r o/model.pb",
        ),
        (RuntimeError("OSError: [Errno 28] No space left on device: '/r/x' [while running 'a']\n\nTraceback"), "/r/x"),
    ],
    ids=["open", "copy", "quota", "metadata-store", "tensorflow", "beam"],
)
def test_a_full_disk_is_transient_and_named(error, path):
    wrapped = RuntimeError("a node failed")
    wrapped.__cause__ = error
    known = recover(wrapped, "WHERE")
    assert isinstance(known, TransientError)
    assert str(known) == f"{path}: no space left on the disk; free some and run again"


def test_a_message_of_ours_wins_over_what_it_speaks_of():
    assert isinstance(recover(InputDataError("t.csv line 2: 'No space left on device'")), InputDataError)


def test_other_errors_are_not_taken_for_a_full_disk():
    assert recover(OSError(errno.EIO, "Input/output error", "/x")) is None
