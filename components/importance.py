"""Permutation importance of a ranking model's features: how much MAP@12 falls when their values are dealt out anew.

After L. Breiman, Random Forests, Machine Learning 45, 2001; here for the mean of a figure of each display, so that its uncertainty
is over displays, and with features that say the same thing taken together, so that one does not stand in for the other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.evaluator.average_precision import average_precisions
from schemas.features import CTR_GROUPS, Feature, Level

Columns = Mapping[str, npt.NDArray]
Score = Callable[[Columns], npt.NDArray]

_SUFFIXES = ("_conf_multipl", "_conf")
_SAME = {
    **{group.views_feature: group.feature for group in CTR_GROUPS if group.views_feature},
    "doc_event_hour": "event_hour",
    "event_country": "event_geo_location",
    "event_country_state": "event_geo_location",
}
"""Features that say what another one says, beside those that `_SUFFIXES` tell."""


@dataclass(frozen=True, slots=True)
class Group:
    """Features that are permuted together; all are of one level."""

    name: str
    features: tuple[str, ...]
    level: Level


@dataclass(frozen=True)
class Sample:
    """Rows of whole displays, side by side.

    Attributes:
        columns: Model inputs by name, (n,) or (n, hotness).
        labels: (n,), positive where clicked.
        sizes: (d,), rows of each display; their sum is n.
    """

    columns: Columns
    labels: npt.NDArray
    sizes: npt.NDArray[np.int64]


def group_features(features: Sequence[Feature]) -> tuple[Group, ...]:
    """Puts features together that say the same thing: a value, its confidence and their product, and the like."""
    groups: dict[tuple[str, Level], list[str]] = {}
    for feature in features:
        stem = next((feature.name.removesuffix(s) for s in _SUFFIXES if feature.name.endswith(s)), feature.name)
        groups.setdefault((_SAME.get(stem, stem), feature.level), []).append(feature.name)
    return tuple(Group(name, tuple(names), level) for (name, level), names in groups.items())


def permutation_importance(
    sample: Sample, score: Score, groups: Sequence[Group], repeats: int, seed: int
) -> Iterator[tuple[Group, npt.NDArray[np.float64]]]:
    """Yields each group with the fall of AP@12 of each display, its mean over the repeats.

    A feature of a display is dealt out among the displays, so that its ads still share it; one of an ad among all rows. The
    features of a group keep together. Displays without a click are NaN.

    Args:
        sample: The rows.
        score: Model inputs of n rows -> a score each, (n,).
        groups: From `group_features`.
        repeats: How often to permute.
        seed: Determines the permutations: a group's do not depend on the other groups.
    """
    display = np.repeat(np.arange(len(sample.sizes)), sample.sizes)  # (n,)
    first = np.cumsum(sample.sizes) - sample.sizes  # (d,)

    def precision(columns: Columns) -> npt.NDArray[np.float64]:
        return average_precisions(display, score(columns), sample.labels)[1]

    before = precision(sample.columns)
    for group in groups:
        draw = np.random.default_rng([seed, *group.name.encode()])
        after = np.zeros(len(before))
        for _ in range(repeats):
            # Of a display's own features, the first row of another display stands for all of it.
            of_items = group.level == "item"
            rows = draw.permutation(len(display)) if of_items else first[draw.permutation(len(first))][display]
            after += precision({**sample.columns, **{name: sample.columns[name][rows] for name in group.features}})
        yield group, before - after / repeats
