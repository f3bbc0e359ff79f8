"""The documents: what they are about, where and when they appeared.

Every document lies in one area of interest and touches a second one. Topics, categories and entities each belong to an area, so
a document's aspects tell its areas, with noise. Users' interests and the click model speak of areas too.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.synth import marginals
from schemas.tables import OUTBRAIN

AREAS = 20
AREA_WEIGHTS = marginals.zipf(AREAS, 1.0, 4.0)
_SECOND_AREA = 0.35
"""Weight of a document's second area; the first has 1."""
_SHOWS_ADS = 0.3
MISSING = -1


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents, in ascending order of their ids. Arrays of length n unless told otherwise.

    Attributes:
        ids: int32.
        area: int64 in [0, AREAS), the main area.
        second: int64 in [0, AREAS), the second area.
        about: float32 [n, AREAS], unit length: how much the document is about each area.
        landing: int64 [k], the indices of the documents that ads lead to.
        read_weight: float64, how often it is read for its own sake.
        shows_ads: bool, whether displays happen there.
        source: int64, `MISSING` for a few.
        publisher: int64, `MISSING` for a few.
        published: int64, seconds since 1970.
        has_published: bool.
        listed: bool, whether the document tables know it.
    """

    ids: np.ndarray
    area: np.ndarray
    second: np.ndarray
    about: np.ndarray
    landing: np.ndarray
    read_weight: np.ndarray
    shows_ads: np.ndarray
    source: np.ndarray
    publisher: np.ndarray
    published: np.ndarray
    has_published: np.ndarray
    listed: np.ndarray


def build(rng: np.random.Generator, n: int, landing_owner: np.ndarray) -> Documents:
    """Makes n documents, `len(landing_owner)` of them the landing documents of those advertisers (an index for each)."""
    ids = sparse_ids(rng, n)
    landing = rng.permutation(n)[: len(landing_owner)]
    advertisers = int(landing_owner.max()) + 1
    sites = max(8, n // 60)
    # Sources 0..sites-1 are the sites that people read, the others belong to one advertiser each.
    source = rng.choice(sites, n, p=marginals.zipf(sites, 0.8, 2.0))
    source[landing] = sites + landing_owner
    home = rng.choice(AREAS, sites + advertisers, p=AREA_WEIGHTS)
    at_home = rng.random(n) < np.where(source < sites, 0.5, 0.7)
    area = np.where(at_home, home[source], rng.choice(AREAS, n, p=AREA_WEIGHTS))
    second = rng.choice(AREAS, n, p=AREA_WEIGHTS)

    about = np.zeros((n, AREAS), np.float32)
    about[np.arange(n), second] = _SECOND_AREA
    about[np.arange(n), area] = 1.0
    about /= np.linalg.norm(about, axis=1, keepdims=True)

    read_weight = marginals.zipf(n, 1.0, 15.0)[rng.permutation(n)]
    # Landing documents are read on their own too, though rarely: a view of one is a hint of a click, not a proof.
    read_weight[landing] = read_weight.min()

    shows_ads = rng.random(n) < _SHOWS_ADS
    shows_ads[landing] = False
    shows_ads[np.argsort(-read_weight)[:2]] = True

    publishers = max(3, sites // 8)
    publisher_of = np.concatenate([rng.integers(0, publishers, sites), publishers + np.arange(advertisers)])
    publisher_of[:sites][rng.random(sites) < 0.02] = MISSING
    publisher_of[sites:][rng.random(advertisers) < 0.3] = MISSING
    publisher_of[rng.integers(1, sites)] = MISSING
    publisher = publisher_of[source]
    publisher[rng.random(n) < 0.01] = MISSING
    sourceless = rng.random(n) < 0.002
    sourceless[rng.integers(n)] = True
    publisher[sourceless] = MISSING

    listed = rng.random(n) >= 0.03
    # Some unknown documents must be in use even in a tiny log: one that is read most, and one that an ad leads to.
    listed[np.argsort(-read_weight)[1]] = False
    listed[landing[0]] = False
    published, has_published = _publish_times(rng, n)
    return Documents(
        ids=ids,
        area=area,
        second=second,
        about=about,
        landing=landing,
        read_weight=read_weight,
        shows_ads=shows_ads,
        source=np.where(sourceless, MISSING, 1 + source),
        publisher=np.where(publisher == MISSING, MISSING, 1 + publisher),
        published=published,
        has_published=has_published,
        listed=listed,
    )


def sparse_ids(rng: np.random.Generator, n: int) -> np.ndarray:
    """Returns n distinct ids in ascending order, int32, about ten apart, so that no id can serve as an index by accident."""
    return np.cumsum(rng.integers(1, 20, n)).astype(np.int32)


def _publish_times(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Mostly within the last months before the end of the log, some in the future, some absurdly old; a third missing."""
    end = (OUTBRAIN.epoch_ms + marginals.END_MS) // 1000
    day = 86_400
    age_days = rng.lognormal(3.0, 1.8, n)
    published = end - (np.minimum(age_days, 6_000) * day).astype(np.int64)
    odd = rng.permutation(n)
    few = max(1, n // 300)
    published[odd[:few]] = end + rng.integers(10 * day, 9_000 * day, few)
    published[odd[few : 2 * few]] = rng.integers(-25_000 * day, -2_000 * day, few)
    midnight = rng.random(n) < 0.3
    published[midnight] -= published[midnight] % day
    has_published = rng.random(n) >= marginals.MISSING_PUBLISH_TIME
    has_published[odd[: 2 * few]] = True
    return published, has_published
