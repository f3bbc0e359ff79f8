"""The page views: what users read, in and out of the displays.

Four kinds, mixed: the views of the pages that showed ads; the views of the landing documents right after a click (the leak);
background reading after the users' interests, over all days, hence before and after the displays; and views of the same document by
the same user again. The rows are in no order, so that nothing downstream may lean on one.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.synth import marginals
from pipeline.synth import world as world_
from pipeline.synth.displays import Displays, times
from pipeline.synth.marginals import normalised
from pipeline.synth.parameters import Parameters
from pipeline.synth.world import World
from schemas.tables import DAY_MS

LEAKING_CLICKS = 0.04
_VIEWED_DISPLAYS = 0.98
_REPEATS = 0.03
_LEAK_MS = 90_000


@dataclass(frozen=True, slots=True)
class PageViews:
    """The page views; arrays of one length.

    Attributes:
        user: int64, index.
        document: int64, index.
        timestamp: int64, ms since the start of the log.
        platform: int8 in 1..3, 0 where the display's is missing.
        location: int64, index into `World.locations`.
        traffic_source: int8 in 1..3.
    """

    user: np.ndarray
    document: np.ndarray
    timestamp: np.ndarray
    platform: np.ndarray
    location: np.ndarray
    traffic_source: np.ndarray


def build(parameters: Parameters, world: World, displays: Displays, clicked: np.ndarray, rng: np.random.Generator) -> PageViews:
    """Draws exactly `parameters.page_views` page views. `clicked` is bool [rows of displays].

    If they are few, at most half goes to the displays' own pages and a twentieth to the leak.
    """
    total = parameters.page_views
    own = _of_displays(rng, displays, total // 2)
    leak = _leaks(rng, world, displays, clicked, total // 20)
    repeats = round(_REPEATS * total)
    background = _background(rng, world, total - len(own[0]) - len(leak[0]) - repeats)
    seen = [np.concatenate(columns) for columns in zip(own, leak, background, strict=True)]
    # Repeated leaks would not be close to their click, so the leak's rows are not drawn.
    drawn = rng.integers(0, total - repeats - len(leak[0]), repeats)
    drawn[drawn >= len(own[0])] += len(leak[0])
    again = [column[drawn] for column in seen]
    again[2] = _later(rng, again[2])
    order = rng.permutation(total)
    user, document, timestamp, platform, location = (np.concatenate(c)[order] for c in zip(seen, again, strict=True))
    traffic_source = (1 + rng.choice(3, total, p=normalised(marginals.TRAFFIC_SOURCES))).astype(np.int8)
    return PageViews(user, document, timestamp, platform, location, traffic_source)


_Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _of_displays(rng: np.random.Generator, displays: Displays, most: int) -> _Columns:
    """The page views of the displays' own pages, a moment before the display, on the same day."""
    n = len(displays.timestamp)
    drawn = rng.permutation(n)[: min(most, round(_VIEWED_DISPLAYS * n))]
    timestamp = displays.timestamp[drawn]
    before = np.maximum(timestamp - rng.integers(0, 3_000, len(drawn)), timestamp - timestamp % DAY_MS)
    return displays.user[drawn], displays.document[drawn], before, displays.platform[drawn], displays.location[drawn]


def _leaks(rng: np.random.Generator, world: World, displays: Displays, clicked: np.ndarray, most: int) -> _Columns:
    """Views of the clicked ads' landing documents right after the click, train and test alike."""
    rows = np.flatnonzero(clicked)
    after = displays.timestamp + rng.integers(1_000, _LEAK_MS, len(rows))
    possible = rng.permutation(np.flatnonzero(after < marginals.END_MS))
    drawn = possible[: min(most, max(1, round(LEAKING_CLICKS * len(rows))))]
    landing = world.ads.document[displays.ad[rows[drawn]]]
    return displays.user[drawn], landing, after[drawn], displays.platform[drawn], displays.location[drawn]


def _background(rng: np.random.Generator, world: World, n: int) -> _Columns:
    users = world.users
    reader = rng.choice(len(users.uuids), n, p=normalised(users.read_weight))
    document = world_.read(rng, world, reader, world.documents.read_weight)
    timestamp = times(rng, rng.choice(marginals.DAYS, n, p=normalised(marginals.DAY_WEIGHTS)))
    return reader, document, timestamp, users.platform[reader], users.location[reader]


def _later(rng: np.random.Generator, timestamp: np.ndarray) -> np.ndarray:
    """Half of the times later on the same day, half at any time until the end of the log."""
    end_of_day = timestamp - timestamp % DAY_MS + DAY_MS
    end = np.where(rng.random(len(timestamp)) < 0.5, end_of_day, marginals.END_MS)
    return timestamp + (rng.random(len(timestamp)) * (end - timestamp)).astype(np.int64)
