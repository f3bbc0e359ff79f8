"""The size of a generated log."""

from dataclasses import dataclass
from typing import Any

from pipeline.synth import marginals
from schemas.errors import ConfigError

MIN_DISPLAYS = marginals.DAYS
MIN_DOCUMENTS = 24
_MAX = (2**31 - 1) // 20
"""Ids are about ten apart and must fit into int32."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What decides every byte of a generated log.

    Attributes:
        displays: Labelled displays; the test set comes on top.
        users: Users, including those that only read.
        documents: Documents, including those that ads lead to.
        ads: Ads of promoted_content.
        page_views: Rows of page_views.
        seed: Same seed and sizes, same bytes.
    """

    displays: int
    users: int
    documents: int
    ads: int
    page_views: int
    seed: int

    @property
    def test_displays(self) -> int:
        """Displays whose click is withheld."""
        return round(self.displays * marginals.TEST_PER_TRAIN)


def resolve(
    displays: int, users: int | None, documents: int | None, ads: int | None, page_views: int | None, seed: int
) -> Parameters:
    """Fills in the sizes that are None and checks all of them.

    Users follow the number of displays. Documents and ads grow with its power 0.8 through the size of the Outbrain data
    (20,000 displays: 13,700 documents, 2,550 ads), so that a small log still has some displays per ad.

    Raises:
        ConfigError: A size is no whole number or too small or too large; names it.
    """
    _check("displays", displays, MIN_DISPLAYS)
    scale = (displays / 16_874_593) ** 0.8
    parameters = Parameters(
        displays=displays,
        users=round(1.25 * displays * (1 + marginals.TEST_PER_TRAIN) / marginals.MEAN_DISPLAYS_PER_USER)
        if users is None
        else users,
        documents=max(10 * MIN_DOCUMENTS, round(2_999_334 * scale)) if documents is None else documents,
        ads=max(4 * marginals.MAX_ADS, round(559_583 * scale)) if ads is None else ads,
        page_views=20 * displays if page_views is None else page_views,
        seed=seed,
    )
    _check("users", parameters.users, 1)
    _check("documents", parameters.documents, MIN_DOCUMENTS)
    _check("ads", parameters.ads, marginals.MAX_ADS)
    _check("page_views", parameters.page_views, 1)
    _check("seed", parameters.seed, 0)
    return parameters


def _check(name: str, value: Any, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= _MAX:
        raise ConfigError(f"{name} must be a whole number from {minimum} to {_MAX}. Received: {value!r}")
