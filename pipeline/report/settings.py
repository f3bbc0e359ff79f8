"""A run's configuration, and in what it differs from the defaults and from another run's."""

from collections.abc import Mapping
from typing import Any

import yaml

from pipeline.report import content

_NOT_SET = "not there"


def compare(now: Mapping[str, Any], default: Mapping[str, Any], blessed: Mapping[str, Any] | content.Absent) -> content.Settings:
    """Compares a configuration with the defaults and with the blessed run's.

    Args:
        now: The tree of the run.
        default: The tree of the defaults.
        blessed: The tree of the blessed run, or why there is none.
    """
    flat = flatten(now)
    return content.Settings(
        flat,
        changes(flatten(default), flat),
        blessed if isinstance(blessed, content.Absent) else changes(flatten(blessed), flat),
    )


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[content.Changed, ...]:
    """Returns the keys whose values differ, or that one of the two lacks, in the order of `now`."""
    keys = dict.fromkeys((*now, *before))
    return tuple(
        content.Changed(key, before.get(key, _NOT_SET), now.get(key, _NOT_SET)) for key in keys if before.get(key) != now.get(key)
    )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns path -> value as YAML of each leaf of a configuration; lists and empty maps are leaves."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{path}.")
        else:
            flat[path] = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")
    return flat
