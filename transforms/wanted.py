"""What must be computed, and which tables read, for the columns that are asked for."""

from collections.abc import Collection

from schemas.features import CTR_GROUPS, FEATURES, CtrGroup, columns

POPULARITY_GROUP = "pop_ad_id"
"""The CTR group by which the popularity baseline ranks."""

_CONFIDENCES = ("", "_conf", "_conf_multipl")


def all_columns() -> frozenset[str]:
    """Every column of the feature table."""
    return frozenset(columns())


def with_confidence(stem: str) -> tuple[str, str, str]:
    """The names of a value, its confidence and their product."""
    value, confidence, product = (stem + suffix for suffix in _CONFIDENCES)
    return value, confidence, product


def ctr_groups(wanted: Collection[str]) -> list[tuple[int, CtrGroup]]:
    """The CTR groups, each with its index in `CTR_GROUPS`, that give any of the columns."""
    return [(index, group) for index, group in enumerate(CTR_GROUPS) if not _given_by(group).isdisjoint(wanted)]


def base_columns(wanted: Collection[str]) -> frozenset[str]:
    """The columns, and those that the keys of their CTR groups are made of."""
    return frozenset(wanted).union(*(group.key for _, group in ctr_groups(wanted)))


def optional_tables(wanted: Collection[str]) -> frozenset[str]:
    """Roles of the optional tables that the columns come from."""
    return frozenset(role for feature in FEATURES if feature.name in wanted for role in feature.tables)


def _given_by(group: CtrGroup) -> set[str]:
    return {*with_confidence(group.feature), group.views_feature} | ({"popularity"} if group.feature == POPULARITY_GROUP else set())
