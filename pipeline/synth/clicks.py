"""Which ad was clicked, and how well the clicks can be predicted at best.

A display has exactly one click, drawn with probabilities softmax(utility) over its ads. The utility is a sum of planted signals,
each scaled to the same spread within displays whatever the size of the log. The best ranking is the one by the true
probabilities: it is the expectation of MAP@12 that no ranking exceeds (the clicked ad at rank r counts 1/r, and the sum
of p(r) / r is largest when p falls with r).
"""

from dataclasses import dataclass

import numpy as np

from pipeline.synth import marginals
from pipeline.synth.displays import Displays
from pipeline.synth.documents import AREAS
from pipeline.synth.world import World

SPREAD = 1.2
"""Standard deviation of the utility within displays. Ours: gives a best MAP@12 of about 0.74."""
STRENGTHS = {
    "ad": 0.45,
    "campaign": 0.32,
    "advertiser": 0.72,
    "user_topics": 0.45,
    "document_topics": 0.33,
    "country": 0.17,
    "platform": 0.55,
    "hour": 0.20,
}
"""Standard deviations of the planted signals within displays, relative to each other. Ours: most of it lies in identities."""
TOPIC_SIGNALS = ("user_topics", "document_topics")
_CHUNK = 1_000_000
_HOUR_BINS = np.repeat([5, 0, 1, 2, 3, 4, 5], [5, 3, 3, 3, 5, 3, 2])
"""Early morning, morning, noon, afternoon, evening, night, by local hour."""


@dataclass(frozen=True, slots=True)
class Clicks:
    """The outcome; arrays of length m, one value a row of `Displays`, all displays.

    Attributes:
        clicked: bool, true once a display.
        probability: float64, the true click probability, adds to 1 a display.
        utility: float64, adds to 0 a display.
        signals: Variance within displays by signal, as a share of their sum.
        without_topics: float64, the utility without the signals of `TOPIC_SIGNALS`.
    """

    clicked: np.ndarray
    probability: np.ndarray
    utility: np.ndarray
    signals: dict[str, float]
    without_topics: np.ndarray


def build(world: World, displays: Displays, rng: np.random.Generator) -> Clicks:
    """Computes the utilities and draws the clicks."""
    parts = _signals(world, displays, rng)
    utility = sum(parts.values(), np.zeros(len(displays.ad)))
    variances = {name: float(part @ part) for name, part in parts.items()}
    total = sum(variances.values()) or 1.0
    order = ranking(utility + rng.gumbel(size=len(utility)), displays.display)
    clicked = np.zeros(len(utility), bool)
    clicked[order[displays.starts]] = True
    return Clicks(
        clicked=clicked,
        probability=softmax(utility, displays.starts, displays.sizes),
        utility=utility,
        signals={name: variance / total for name, variance in variances.items()},
        without_topics=utility - sum(parts[name] for name in TOPIC_SIGNALS),
    )


def softmax(utility: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns exp(utility), scaled to add to 1 within each display (rows starts[i] .. starts[i] + sizes[i] - 1)."""
    weight = np.exp(utility - np.repeat(np.maximum.reduceat(utility, starts), sizes))
    return weight / np.repeat(np.add.reduceat(weight, starts), sizes)


def ranking(score: np.ndarray, display: np.ndarray) -> np.ndarray:
    """Returns the rows, the displays in order, within each by falling score; ties by row."""
    return np.lexsort((-score, display))


def average_precision(score: np.ndarray, relevance: np.ndarray, displays: Displays) -> np.ndarray:
    """Returns AP@12 of each display, float64 [n], when its ads are ranked by falling score.

    Args:
        score: float [m].
        relevance: float [m], adds to 1 a display: the click (0 or 1), or its probability for the expected AP@12.
        displays: The displays.
    """
    rank = np.arange(1, len(score) + 1) - np.repeat(displays.starts, displays.sizes)
    gain = np.where(rank <= marginals.MAX_ADS, 1.0 / rank, 0.0)
    return np.add.reduceat(relevance[ranking(score, displays.display)] * gain, displays.starts)


def random_average_precision(sizes: np.ndarray) -> np.ndarray:
    """Returns the expected AP@12 of each display under a random order, float64: the mean of 1/r over its up to 12 ads."""
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, marginals.MAX_ADS + 1))])
    return harmonic[np.minimum(sizes, marginals.MAX_ADS)] / sizes


def _signals(world: World, displays: Displays, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The parts of the utility, float64 [m] each, centred within displays, spread after `STRENGTHS` and `SPREAD`."""
    ads, ad, of = world.ads, displays.ad, displays.display
    landing = ads.document[ad]
    advertiser = ads.advertiser[ad]
    advertisers = len(ads.advertiser_ids)
    countries = int(world.country.max()) + 1
    # Column 0 of the platform effects stands for the missing platform, which has none.
    platform_effect = rng.normal(size=(advertisers, 4))
    platform_effect -= platform_effect[:, 1:].mean(axis=1, keepdims=True)
    platform_effect[:, 0] = 0.0
    hour_effect = rng.normal(size=(AREAS, 6))
    hour_effect -= hour_effect.mean(axis=1, keepdims=True)
    # The log's clock starts at midnight in New York.
    hour = (displays.timestamp / 3_600_000 + world.utc_offset[displays.location] - marginals.EASTERN) % 24
    # Less the average, so that an ad's popular topic is no quality of the ad that its click-through rate would give away.
    user_interest = world.users.interest - world.users.interest.mean(axis=0)
    page_about = world.documents.about - world.documents.about[displays.document].mean(axis=0)
    raw = {
        "ad": rng.normal(size=len(ads.ids))[ad],
        "campaign": rng.normal(size=len(ads.campaign_ids))[ads.campaign[ad]],
        "advertiser": rng.normal(size=advertisers)[advertiser],
        "user_topics": _affinity(user_interest, displays.user[of], world.documents.about, landing),
        "document_topics": _affinity(page_about, displays.document[of], world.documents.about, landing),
        "country": rng.normal(size=(advertisers, countries))[advertiser, world.country[displays.location][of]],
        "platform": platform_effect[advertiser, displays.platform[of]],
        "hour": hour_effect[world.documents.area[landing], _HOUR_BINS[hour.astype(np.int64)][of]],
    }
    parts = {name: _centred(raw[name], displays) for name in STRENGTHS}
    parts = {name: part * _factor(part, STRENGTHS[name]) for name, part in parts.items()}
    factor = _factor(sum(parts.values(), np.zeros(len(ad))), SPREAD)
    return {name: part * factor for name, part in parts.items()}


def _factor(part: np.ndarray, spread: float) -> float:
    """What brings the standard deviation of a centred part to `spread`; 1 if it is constant."""
    present = float(np.sqrt(np.mean(part * part)))
    return spread / present if present > 0 else 1.0


def _affinity(left: np.ndarray, i: np.ndarray, right: np.ndarray, j: np.ndarray) -> np.ndarray:
    """The scalar products of left[i] and right[j], row by row; in pieces, as all gathered vectors may not fit in memory."""
    out = np.empty(len(i))
    for start in range(0, len(i), _CHUNK):
        piece = slice(start, start + _CHUNK)
        out[piece] = np.einsum("ra,ra->r", left[i[piece]], right[j[piece]])
    return out


def _centred(values: np.ndarray, displays: Displays) -> np.ndarray:
    return values - np.repeat(np.add.reduceat(values, displays.starts) / displays.sizes, displays.sizes)
