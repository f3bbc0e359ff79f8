"""What the generated log should look like: shares and sizes from the published statistics of the Outbrain data.

Where only the first hour of the log is published, the shares are those of that hour. Numbers that are ours say so.
"""

import numpy as np

from schemas.tables import DAY_MS, OUTBRAIN

DAYS = OUTBRAIN.days
END_MS = DAYS * DAY_MS
TRAIN_DAYS = 13
TEST_PER_TRAIN = 0.370
"""Test displays per train display."""
TEST_SHARE_OF_TRAIN_DAYS = 0.15
"""Share of the displays of a labelled day that belong to the test set; the last two days belong to it completely."""
DAY_WEIGHTS = np.array([1.0, 0.99, 0.98, 0.93, 0.78, 0.82, 1.08] * 2 + [1.0])
"""Displays by day. Day 0 is a Tuesday; weekdays lie above the weekend, Monday highest. The numbers are ours."""
HOUR_WEIGHTS = np.array(
    [34, 23, 20, 16, 15, 21, 30, 45, 53, 60, 61, 57, 60, 58, 56, 52, 50, 48, 48, 40, 39, 41, 40, 34], dtype=np.float64
)
"""Page views by hour since the start of the log's day, which is midnight in New York."""

MAX_ADS = 12
ADS_PER_DISPLAY = np.array([0.0812, 0.0939, 0.3165, 0.0883, 0.2573, 0.0082, 0.0658, 0.0653, 0.0225, 0.0, 0.0010])
"""Share of displays with 2, 3, ... 12 ads."""
DISPLAYS_PER_USER = np.array([0.8842, 0.0860, 0.0190, 0.0060])
"""Share of users with 1, 2, 3, 4 displays; the rest has more, with a geometric tail up to `MAX_DISPLAYS_PER_USER`."""
MAX_DISPLAYS_PER_USER = 49
MEAN_DISPLAYS_PER_USER = 1.168

PLATFORMS = np.array([0.3905, 0.4747, 0.1348])
"""Desktop, mobile, tablet; ids 1, 2, 3."""
TRAFFIC_SOURCES = np.array([0.790, 0.112, 0.098])
"""Internal, search, social; ids 1, 2, 3."""
MISSING_PLATFORM = 1e-4
MISSING_LOCATION = 4e-4

TOPICS = 300
MIN_TOPIC_CONFIDENCE = 0.008
MAX_TOPIC_CONFIDENCE = 0.43
FREQUENT_CATEGORIES = (1403, 1702, 1902, 1513, 1808, 1100)
CATEGORIES = 97
COVERAGE = {"categories": 0.943, "topics": 0.832, "entities": 0.597}
"""Share of the documents of the metadata table that have any."""

MISSING_PUBLISH_TIME = 1 / 3

EASTERN = -4.0
_STATES: dict[str, tuple[float, float, tuple[int, ...]]] = {
    "CA": (0.1036, -7, (803, 807, 862, 825, 866, 828, 868, 855, 800, 811)),
    "TX": (0.0712, -5, (618, 623, 641, 635, 625, 765, 612, 636, 634)),
    "FL": (0.0488, -4, (528, 539, 534, 548, 561, 686, 571)),
    "NY": (0.0478, -4, (501, 532, 514, 555, 526)),
    "PA": (0.0339, -4, (504, 508, 566, 574, 577)),
    "IL": (0.0323, -5, (602, 675, 648, 609, 682)),
    "OH": (0.0274, -4, (510, 535, 515, 542, 547)),
    "MI": (0.0270, -4, (505, 563, 540, 513, 551)),
    "NC": (0.0258, -4, (560, 517, 518, 545)),
    "NJ": (0.0232, -4, (501, 504)),
    "GA": (0.0229, -4, (524, 507, 561)),
    "VA": (0.0225, -4, (511, 556, 573, 544)),
    "WA": (0.0200, -7, (819, 881, 820, 810)),
    "MA": (0.0190, -4, (506, 543, 521)),
    "AZ": (0.0165, -7, (753, 789)),
    "CO": (0.0160, -6, (751, 752)),
    "TN": (0.0160, -5, (659, 640, 557)),
    "MN": (0.0155, -5, (613, 611, 737)),
    "MO": (0.0155, -5, (609, 616, 619)),
    "MD": (0.0150, -4, (512, 511, 576)),
    "IN": (0.0150, -4, (527, 509, 588, 602)),
    "WI": (0.0145, -5, (617, 669, 658, 702)),
    "AL": (0.0110, -5, (630, 691, 522, 698)),
    "OR": (0.0115, -7, (820, 801, 821, 810)),
    "SC": (0.0110, -4, (519, 567, 570, 546)),
    "LA": (0.0100, -5, (622, 612, 716)),
    "KY": (0.0095, -4, (529, 541, 736)),
    "OK": (0.0085, -5, (650, 671)),
    "CT": (0.0090, -4, (533, 501)),
    "UT": (0.0080, -6, (770,)),
    "NV": (0.0075, -7, (839, 811)),
    "KS": (0.0070, -5, (678, 605, 616)),
    "IA": (0.0070, -5, (679, 637, 624)),
    "AR": (0.0060, -5, (693, 670)),
    "NE": (0.0045, -5, (652, 722)),
    "HI": (0.0035, -10, (744,)),
    "WV": (0.0035, -4, (564, 559)),
}
"""US states: share of all events, summer UTC offset in hours, market areas from large to small. Those below Virginia are ours."""

_ABROAD: dict[str, tuple[float, tuple[tuple[str, float], ...]]] = {
    "CA": (0.060, (("ON", -4), ("BC", -7), ("AB", -6), ("QC", -4), ("MB", -5), ("SK", -6), ("NS", -3), ("NB", -3))),
    "GB": (0.049, tuple((region, 1.0) for region in ("H9", "A8", "B4", "A7", "P7", "K2", "D7", "U8", "Y5", "Z1"))),
    "AU": (0.019, (("02", 10), ("07", 10), ("04", 10), ("08", 8), ("05", 9.5))),
    "IN": (0.009, tuple((region, 5.5) for region in ("16", "19", "07", "25", "10"))),
    "ZA": (0.0055, (("06", 2), ("02", 2))),
    "SG": (0.0055, (("00", 8),)),
    "NZ": (0.0050, (("E7", 12), ("G2", 12))),
    "PH": (0.0045, (("D9", 8),)),
    "IE": (0.0040, (("07", 1),)),
    "DE": (0.0040, (("02", 2), ("07", 2))),
    "MY": (0.0035, (("14", 8), ("12", 8))),
    "FR": (0.0030, (("A8", 2),)),
    "AE": (0.0030, (("03", 4),)),
    "MX": (0.0030, (("09", -5),)),
    "BR": (0.0025, (("27", -3),)),
    "NL": (0.0025, (("07", 2),)),
    "JP": (0.0020, (("40", 9),)),
    "IL": (0.0020, (("05", 3),)),
    "HK": (0.0015, (("00", 8),)),
    "SE": (0.0015, (("26", 2),)),
    "ES": (0.0015, (("29", 2),)),
    "--": (0.0010, ()),
    "EU": (0.0007, ()),
    "A1": (0.0003, ()),
}
"""Outside the US: share of all events, regions from large to small with their summer UTC offset in hours."""

_US_ALONE = 0.0328
_STOPS_EARLY = 0.025
"""Ours: of a country's (state's) events, the share whose location ends there."""


def locations() -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Returns every location, its share of the events (adds to 1), its country as an index, and its UTC offset in hours.

    The last location is the missing one: empty, share 0, a country of its own, Eastern time.
    """
    names, shares, countries, offsets = ["US"], [_US_ALONE], ["US"], [EASTERN]

    def spread(prefix: str, share: float, parts: list[tuple[str, float]]) -> None:
        weights = 0.6 ** np.arange(len(parts))
        for (part, offset), weight in zip(parts, weights / weights.sum(), strict=True):
            names.append(f"{prefix}>{part}")
            shares.append(share * weight)
            countries.append(prefix[:2])
            offsets.append(offset)

    for state, (share, offset, areas) in _STATES.items():
        spread("US", share * _STOPS_EARLY, [(state, offset)])
        spread(f"US>{state}", share * (1 - _STOPS_EARLY), [(str(area), offset) for area in areas])
    for country, (share, regions) in _ABROAD.items():
        names.append(country)
        shares.append(share * _STOPS_EARLY if regions else share)
        countries.append(country)
        offsets.append(regions[0][1] if regions else EASTERN)
        spread(country, share * (1 - _STOPS_EARLY), list(regions))
    names.append("")
    shares.append(0.0)
    countries.append("")
    offsets.append(EASTERN)
    _, index = np.unique(countries, return_inverse=True)
    return names, np.array(shares) / np.sum(shares), index, np.array(offsets)


def category_ids() -> np.ndarray:
    """Returns the `CATEGORIES` four-digit category ids, the most frequent ones first."""
    rest = [100 * group + k for k in range(16) for group in range(10, 22) if 100 * group + k not in FREQUENT_CATEGORIES]
    return np.array([*FREQUENT_CATEGORIES, *rest][:CATEGORIES], dtype=np.int32)


def normalised(weights: np.ndarray) -> np.ndarray:
    """Returns the weights, scaled to add to 1."""
    return weights / weights.sum()


def zipf(n: int, exponent: float, offset: float) -> np.ndarray:
    """Returns n falling weights (rank + offset) ** -exponent that add to 1; a larger offset flattens the top."""
    return normalised((np.arange(1, n + 1) + offset) ** -exponent)
