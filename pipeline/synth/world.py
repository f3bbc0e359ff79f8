"""What exists before anybody clicks: documents, ads and users."""

from dataclasses import dataclass

import numpy as np

from pipeline.synth import documents as documents_
from pipeline.synth import marginals
from pipeline.synth.aspects import hex_ids
from pipeline.synth.documents import AREA_WEIGHTS, AREAS, Documents, sparse_ids
from pipeline.synth.marginals import normalised
from pipeline.synth.parameters import Parameters

_INTEREST_WEIGHTS = np.array([1.0, 0.6, 0.3])
_FOLLOWS_INTEREST = 0.85
"""Share of a user's reading that follows the interests; the rest is whatever is popular."""


@dataclass(frozen=True, slots=True)
class Ads:
    """The ads, in ascending order of their ids. Arrays of length n.

    Attributes:
        ids: int32.
        document: int64, index of the landing document.
        campaign: int64, index.
        advertiser: int64, index.
        weight: float64, how often the ad is shown while it runs; adds to 1.
        first_day: int64, day from which it is shown; 0 also for those that ran before the log.
        last_day: int64, last day on which it is shown.
        campaign_ids: int32, by campaign index.
        advertiser_ids: int32, by advertiser index.
    """

    ids: np.ndarray
    document: np.ndarray
    campaign: np.ndarray
    advertiser: np.ndarray
    weight: np.ndarray
    first_day: np.ndarray
    last_day: np.ndarray
    campaign_ids: np.ndarray
    advertiser_ids: np.ndarray


@dataclass(frozen=True, slots=True)
class Users:
    """The users. Arrays of length n unless told otherwise.

    Attributes:
        uuids: S14, hex.
        platform: int8 in 1..3.
        location: int64, index into `World.locations`.
        areas: int64 [n, 3], the areas of interest, the strongest first.
        interest: float32 [n, AREAS], unit length: the interests as a vector.
        displays: int64, number of displays the user sees, train and test.
        read_weight: float64, how many pages the user reads, relative to the others.
    """

    uuids: np.ndarray
    platform: np.ndarray
    location: np.ndarray
    areas: np.ndarray
    interest: np.ndarray
    displays: np.ndarray
    read_weight: np.ndarray


@dataclass(frozen=True, slots=True)
class World:
    """Documents, ads, users, and the locations: names, country index [k] and UTC offset in hours [k]."""

    documents: Documents
    ads: Ads
    users: Users
    locations: list[str]
    country: np.ndarray
    utc_offset: np.ndarray


def build(parameters: Parameters, rng: np.random.Generator) -> World:
    """Makes the world of a log of that size."""
    names, shares, country, offsets = marginals.locations()
    landing_count = min(max(2, parameters.ads // 3), parameters.documents // 2)
    advertisers = min(max(2, parameters.ads // 20), landing_count)
    landing_owner = np.sort(_deal(rng, landing_count, advertisers))
    documents = documents_.build(rng, parameters.documents, landing_owner)
    ads = _ads(rng, parameters.ads, documents.landing, landing_owner)
    return World(documents, ads, _users(rng, parameters, shares), names, country, offsets)


def read(rng: np.random.Generator, world: World, user: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Draws a document for each reader, by index, after the reader's interests and the documents' weights (length of documents)."""
    columns = np.searchsorted(np.cumsum(normalised(_INTEREST_WEIGHTS))[:-1], rng.random(len(user)), side="right")
    area = world.users.areas[user, columns]
    order = np.argsort(world.documents.area, kind="stable")
    bounds = np.searchsorted(world.documents.area[order], np.arange(AREAS + 1))
    mass = np.concatenate([[0.0], np.cumsum(weight[order])])
    low, high = mass[bounds[:-1]][area], mass[bounds[1:]][area]
    anywhere = (rng.random(len(user)) >= _FOLLOWS_INTEREST) | (high <= low)
    low, high = np.where(anywhere, 0.0, low), np.where(anywhere, mass[-1], high)
    place = np.searchsorted(mass, low + rng.random(len(user)) * (high - low), side="right") - 1
    return order[np.minimum(place, len(order) - 1)]


def _ads(rng: np.random.Generator, n: int, landing: np.ndarray, landing_owner: np.ndarray) -> Ads:
    advertisers = int(landing_owner.max()) + 1
    campaigns = max(advertisers, n // 8)
    campaign_owner = _deal(rng, campaigns, advertisers)
    campaign = rng.permutation(_deal(rng, n, campaigns))
    advertiser = campaign_owner[campaign]
    starts = np.searchsorted(landing_owner, np.arange(advertisers + 1))
    owned = np.diff(starts)[advertiser]
    document = landing[starts[advertiser] + (owned * rng.random(n) ** 3).astype(np.int64)]
    # One ad leads to the document that no table knows (see documents.build).
    document[np.flatnonzero(advertiser == landing_owner[0])[:1]] = landing[0]

    weight = _skewed(rng, n)
    first_day = np.where(rng.random(n) < 0.42, 0, rng.integers(0, marginals.DAYS, n))
    last_day = first_day + rng.exponential(25.0, n).astype(np.int64)
    evergreen = np.argsort(-weight)[: max(marginals.MAX_ADS, n // 40)]
    first_day[evergreen], last_day[evergreen] = 0, marginals.DAYS - 1
    return Ads(
        ids=sparse_ids(rng, n),
        document=document,
        campaign=campaign,
        advertiser=advertiser,
        weight=weight,
        first_day=first_day,
        last_day=last_day,
        campaign_ids=rng.permutation(sparse_ids(rng, campaigns)),
        advertiser_ids=rng.permutation(sparse_ids(rng, advertisers)),
    )


def _skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Log-normal weights with a capped top that add to 1: mean and median views of an ad differ 20-fold and more.

    Without the cap, the top ad of a small log would be in every other display.
    """
    weight = normalised(rng.lognormal(0.0, 2.5, n))
    for _ in range(20):
        weight = normalised(np.minimum(weight, max(0.015, 3.0 / n)))
    return weight


def _users(rng: np.random.Generator, parameters: Parameters, shares: np.ndarray) -> Users:
    n = parameters.users
    areas = rng.choice(AREAS, (n, len(_INTEREST_WEIGHTS)), p=AREA_WEIGHTS)
    interest = np.zeros((n, AREAS), np.float32)
    for column, weight in reversed(list(enumerate(_INTEREST_WEIGHTS))):
        interest[np.arange(n), areas[:, column]] = weight
    interest /= np.linalg.norm(interest, axis=1, keepdims=True)
    displays = _displays_per_user(rng, n, parameters.displays + parameters.test_displays)
    return Users(
        uuids=hex_ids(rng, n, 7),
        platform=1 + rng.choice(3, n, p=normalised(marginals.PLATFORMS)).astype(np.int8),
        location=rng.choice(len(shares), n, p=shares),
        areas=areas,
        interest=interest,
        displays=displays,
        read_weight=rng.lognormal(0.0, 0.6, n) * np.where(displays > 0, 1.0, 0.5),
    )


def _displays_per_user(rng: np.random.Generator, users: int, total: int) -> np.ndarray:
    """Shares the displays out; a fifth of the users has none, unless there are too few users for that."""
    viewers = max(1, min(total, round(0.8 * users)))
    shares = np.append(marginals.DISPLAYS_PER_USER, 1 - marginals.DISPLAYS_PER_USER.sum())
    counts = 1 + rng.choice(len(shares), viewers, p=shares)
    tail = counts == len(shares)
    counts[tail] += np.minimum(rng.geometric(0.4, tail.sum()) - 1, marginals.MAX_DISPLAYS_PER_USER - len(shares))
    excess = int(counts.sum()) - total
    if excess > 0:
        spare = rng.permutation(np.repeat(np.arange(viewers), counts - 1))[:excess]
        counts -= np.bincount(spare, minlength=viewers)
    elif excess < 0:
        counts += np.bincount(rng.integers(0, viewers, -excess), minlength=viewers)
    return rng.permutation(np.concatenate([counts, np.zeros(users - viewers, counts.dtype)]))


def _deal(rng: np.random.Generator, things: int, owners: int) -> np.ndarray:
    """Gives each thing an owner: every owner one, the others mostly to a few large owners. Needs things >= owners."""
    return np.concatenate([np.arange(owners), rng.choice(owners, things - owners, p=marginals.zipf(owners, 0.9, 2.0))])
