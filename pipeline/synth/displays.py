"""Who saw which ads where and when."""

from dataclasses import dataclass

import numpy as np

from pipeline.synth import marginals
from pipeline.synth import world as world_
from pipeline.synth.marginals import normalised
from pipeline.synth.parameters import Parameters
from pipeline.synth.world import Ads, World
from schemas.tables import DAY_MS

MISSING_PLATFORM = 0
_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Displays:
    """All displays: the labelled ones in time order, then those of the test set in time order.

    Arrays of length n, one value a display, and arrays of length m, one value a row. The rows of a display are adjacent, by
    ascending ad, and the displays' rows follow each other.

    Attributes:
        labelled: Number of labelled displays.
        timestamp: int64 [n], ms since the start of the log.
        user: int64 [n], index.
        document: int64 [n], index of the page that showed the ads.
        platform: int8 [n] in 1..3, `MISSING_PLATFORM` for a few.
        location: int64 [n], index into `World.locations`.
        sizes: int64 [n] in 2..12, ads of the display.
        display: int64 [m], index of the row's display.
        ad: int64 [m], index.
    """

    labelled: int
    timestamp: np.ndarray
    user: np.ndarray
    document: np.ndarray
    platform: np.ndarray
    location: np.ndarray
    sizes: np.ndarray
    display: np.ndarray
    ad: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """int64 [n], the first row of each display."""
        return np.cumsum(self.sizes) - self.sizes


def build(parameters: Parameters, world: World, rng: np.random.Generator) -> Displays:
    """Draws the displays: times, users, pages, ads. The clicks are drawn elsewhere."""
    labelled_days, test_days = _days(rng, parameters)
    timestamp = np.concatenate([np.sort(times(rng, labelled_days)), np.sort(times(rng, test_days))])
    n = len(timestamp)
    user = rng.permutation(np.repeat(np.arange(len(world.users.displays)), world.users.displays))
    weight = np.where(world.documents.shows_ads, world.documents.read_weight, 0.0)
    platform = world.users.platform[user]
    location = world.users.location[user]
    platform[_few(rng, n, marginals.MISSING_PLATFORM)] = MISSING_PLATFORM
    location[_few(rng, n, marginals.MISSING_LOCATION)] = len(world.locations) - 1
    sizes = rng.choice(np.arange(2, marginals.MAX_ADS + 1), n, p=normalised(marginals.ADS_PER_DISPLAY))
    return Displays(
        labelled=parameters.displays,
        timestamp=timestamp,
        user=user,
        document=world_.read(rng, world, user, weight),
        platform=platform,
        location=location,
        sizes=sizes,
        display=np.repeat(np.arange(n), sizes),
        ad=_draw_ads(rng, world.ads, timestamp // DAY_MS, sizes),
    )


def times(rng: np.random.Generator, days: np.ndarray) -> np.ndarray:
    """Draws a time in ms since the start of the log, int64, for each of the days, after the hours' weights."""
    hour = rng.choice(24, len(days), p=normalised(marginals.HOUR_WEIGHTS))
    return days * DAY_MS + hour * 3_600_000 + rng.integers(0, 3_600_000, len(days))


def _days(rng: np.random.Generator, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """The day of each labelled and of each test display; every day has at least one display of its own kind."""
    first = marginals.TRAIN_DAYS
    weights = marginals.DAY_WEIGHTS
    labelled = np.concatenate([np.arange(first), rng.choice(first, parameters.displays - first, p=normalised(weights[:first]))])
    of_train_days = marginals.TEST_SHARE_OF_TRAIN_DAYS / (1 - marginals.TEST_SHARE_OF_TRAIN_DAYS) * parameters.displays
    share = of_train_days / parameters.test_displays
    test_weights = np.concatenate([share * normalised(weights[:first]), (1 - share) * normalised(weights[first:])])
    last = np.arange(first, marginals.DAYS)
    rest = rng.choice(marginals.DAYS, parameters.test_displays - len(last), p=test_weights)
    return labelled, np.concatenate([last, rest])


def _few(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    return rng.permutation(n)[: max(1, round(share * n))]


def _draw_ads(rng: np.random.Generator, ads: Ads, day: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Draws `sizes[i]` different ads that run on `day[i]` for each display, after the ads' weights."""
    columns = np.arange(marginals.MAX_ADS)
    drawn = np.full((len(day), marginals.MAX_ADS), len(ads.ids), dtype=np.int64)
    for d in range(marginals.DAYS):
        weight = np.where((ads.first_day <= d) & (d <= ads.last_day), ads.weight, 0.0)
        mine = np.flatnonzero(day == d)
        used = columns < sizes[mine, None]
        cumulative = np.cumsum(weight) / weight.sum()
        mat = np.where(used, _pick(rng, cumulative, used.shape), len(ads.ids))
        for _ in range(_ROUNDS):
            mat.sort(axis=1)
            again = np.zeros(mat.shape, bool)
            again[:, 1:] = (mat[:, 1:] == mat[:, :-1]) & used[:, 1:]
            if not again.any():
                break
            mat[again] = _pick(rng, cumulative, int(again.sum()))
        else:
            # So few ads run that redrawing does not end: draw those displays without replacement, by exponential race.
            for row in np.flatnonzero(again.any(axis=1)):
                race = np.where(weight > 0, rng.exponential(size=len(weight)) / np.maximum(weight, 1e-300), np.inf)
                chosen = np.argpartition(race, sizes[mine[row]] - 1)[: sizes[mine[row]]]
                mat[row, : len(chosen)] = np.sort(chosen)
        drawn[mine] = mat
    return drawn[columns < sizes[:, None]]


def _pick(rng: np.random.Generator, cumulative: np.ndarray, shape: int | tuple[int, ...]) -> np.ndarray:
    return np.minimum(np.searchsorted(cumulative, rng.random(shape), side="right"), len(cumulative) - 1)
