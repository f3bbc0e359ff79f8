"""Which page views can matter to a display: a small table of what displays ask for, so that the others are dropped unshipped."""

from functools import lru_cache

import numpy as np
import pyarrow as pa

from transforms.dimensions import load

NOTHING_ASKED = pa.schema({"user": pa.int64(), "minute": pa.uint16()}).empty_table()
"""What `latest_asked` gives, but of no display."""

_MINUTE_MS = 60_000
_LAST = np.iinfo(np.uint16).max
_SLOTS_A_USER, _MOST_SLOTS = 8, 1 << 26
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: its multiples spread evenly over the upper bits (Knuth, TAOCP 3, 6.4)."""


def latest_asked(user: np.ndarray, timestamp: np.ndarray, *, see_all: bool) -> pa.Table:
    """Finds until when the displays of each user ask for page views.

    Args:
        user: (n,) int64, the user of each display.
        timestamp: (n,) int64 ms, its time.
        see_all: Whether a display asks for all views of its user, also later ones.

    Returns:
        `user`, and `minute` as `may_matter` counts them: one row for each user.
    """
    users, place = np.unique(user, return_inverse=True)
    minute = np.zeros(len(users), np.uint16)
    np.maximum.at(minute, place, _LAST if see_all else _minute(timestamp))
    return pa.table({"user": users, "minute": minute})


def slots_of(asked: pa.Table) -> np.ndarray:
    """Hashes users into slots, each of which holds the latest minute that any of its users asks for, 0 if none does.

    Its size follows the number of users, up to 128 MB; beyond that, slots are shared by more of them.

    Args:
        asked: Rows of `latest_asked`, of any number of partitions.

    Returns:
        (a power of two,) uint16.
    """
    bits = max(1, min(_SLOTS_A_USER * asked.num_rows, _MOST_SLOTS) - 1).bit_length()
    slots = np.zeros(1 << bits, np.uint16)
    np.maximum.at(slots, _slot(asked["user"].to_numpy(), slots), asked["minute"].to_numpy())
    return slots


def may_matter(slots: np.ndarray, user: np.ndarray, timestamp: np.ndarray) -> np.ndarray:
    """Tells for each page view whether a display of its user may ask for it, (n,) bool: never wrongly no, seldom wrongly yes.

    Args:
        slots: What `slots_of` gave.
        user: (n,) int64.
        timestamp: (n,) int64 ms.
    """
    return _minute(timestamp) <= slots[_slot(user, slots)]


@lru_cache(maxsize=2)
def load_slots(path: str) -> np.ndarray:
    """Loads slots that were saved as the only column of a table; once for all that use them in one process."""
    return load(path)[0].to_numpy()


def _minute(timestamp: np.ndarray) -> np.ndarray:
    """Minutes from 1; all that do not fit into 16 bits are one."""
    return np.minimum(timestamp // _MINUTE_MS + 1, _LAST).astype(np.uint16)


def _slot(user: np.ndarray, slots: np.ndarray) -> np.ndarray:
    bits = len(slots).bit_length() - 1
    return (user.view(np.uint64) * _SPREAD) >> np.uint64(64 - bits)
