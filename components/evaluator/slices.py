"""By what an evaluation is sliced: one value a display.

A slice column is a column that all ads of a display share, as it is, or one of `DERIVED`, which is computed from columns of the
display's rows. None of them looks at the label, which is not among the columns that a function gets: a slice that depended on what
was clicked would measure its own choice. A display without a value is in no slice of that column.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import features
from schemas.errors import ConfigError
from schemas.tables import OUTBRAIN
from transforms import context

Columns = Mapping[str, pa.Array]
"""Columns of n rows by name, the rows of a display together."""


@dataclass(frozen=True, slots=True)
class SliceColumn:
    """A column to slice by.

    Attributes:
        name: What `evaluate.slices` and the results call it.
        about: What it is, for people.
        reads: The columns of the feature table that it is computed from.
        of_displays: (columns, first row of each display (d,)) -> the values (d,), string or int64, null where there is none.
    """

    name: str
    about: str
    reads: tuple[str, ...]
    of_displays: Callable[[Columns, npt.NDArray[np.int64]], pa.Array]


_AGES = (
    (7, "0-6 days"),
    (30, "7-29 days"),
    (180, "30-179 days"),
    (np.inf, "180 days or more"),
)
_MAX_VIEWS_OF_NEW_USER = 1


def _hour(columns: Columns, starts: npt.NDArray[np.int64]) -> pa.Array:
    place = columns["event_country_state"].take(pa.array(starts))
    utc_ms = columns["timestamp"].to_numpy(zero_copy_only=False)[starts] + OUTBRAIN.epoch_ms
    hour = context.hour_of_day(context.local_ms(utc_ms, place))
    names = pa.array([f"{hour:02d}" for hour in range(24)])
    return names.take(pa.array(hour, mask=place.is_null().to_numpy(zero_copy_only=False)))


def _ad_age(columns: Columns, starts: npt.NDArray[np.int64]) -> pa.Array:
    age = pc.cast(columns["doc_ad_days_since_published"], pa.float64()).to_numpy(zero_copy_only=False)  # NaN is unknown
    display = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(age)]))
    ordered = age[np.lexsort((age, display))]  # NaN last
    known = np.add.reduceat(~np.isnan(age), starts, dtype=np.int64) if len(starts) else starts
    median = ordered[starts + np.maximum(known - 1, 0) // 2]
    bucket = np.searchsorted([end for end, _ in _AGES], median, side="right")
    return pa.array([*(name for _, name in _AGES), "unknown"]).take(pa.array(np.where(known > 0, bucket, len(_AGES))))


def _new_ad(columns: Columns, starts: npt.NDArray[np.int64]) -> pa.Array:
    unseen = pc.is_null(columns["ad_views"]).to_numpy(zero_copy_only=False)
    any_new = np.logical_or.reduceat(unseen, starts) if len(starts) else np.zeros(0, bool)
    return pa.array(["known", "new"]).take(pa.array(any_new.astype(np.int64)))


def _new_user(columns: Columns, starts: npt.NDArray[np.int64]) -> pa.Array:
    views = columns["user_views"].take(pa.array(starts))
    return pc.if_else(pc.less_equal(views, _MAX_VIEWS_OF_NEW_USER), "new", "known")  # null stays null


DERIVED: tuple[SliceColumn, ...] = (
    SliceColumn(
        "hour",
        "hour of the day, 00 to 23, on the clock of the place where the display was shown",
        ("timestamp", "event_country_state"),
        _hour,
    ),
    SliceColumn(
        "ad_age",
        "age of the display's ads: the median of the ages of their documents, of an even number the lower; "
        f"{', '.join(name for _, name in _AGES)}, or unknown if no age is known",
        ("doc_ad_days_since_published",),
        _ad_age,
    ),
    SliceColumn(
        "new_ad",
        "new if an ad of the display has no click-through rate yet (too few views before the display for `ad_views`: at most 5 "
        "unless `features.ctr_min_views` says otherwise), known if all have one",
        ("ad_views",),
        _new_ad,
    ),
    SliceColumn(
        "new_user",
        "new if the user had at most one page view before the display (that one is as a rule the view of the page that shows it), "
        "else known",
        ("user_views",),
        _new_user,
    ),
)
"""Slice columns that are computed. To add one, write a row and its function, and test it in the test of this module."""


def find_slice_column(name: str) -> SliceColumn:
    """Returns the slice column of that name.

    Raises:
        ConfigError: There is none, or the column has no one value a display.
    """
    for derived in DERIVED:
        if derived.name == name:
            return derived
    if name not in features.columns():
        known = ", ".join([*(d.name for d in DERIVED), "and the columns of the feature table that the ads of a display share"])
        raise ConfigError(f"evaluate.slices: there is no column {name!r}; there are {known}")
    if any(f.name == name and f.level == "item" for f in features.FEATURES) or name in ("popularity", "label"):
        raise ConfigError(f"evaluate.slices: {name} differs between the ads of a display; slice by a column that all of them share")
    if features.is_list(name):
        raise ConfigError(f"evaluate.slices: {name} has several values a display; slice by a column of one")
    abouts = {key.name: key.about for key in features.KEYS} | {feature.name: feature.about for feature in features.FEATURES}
    return SliceColumn(name, abouts[name], (name,), lambda columns, starts: columns[name].take(pa.array(starts)))


def columns_read(names: tuple[str, ...]) -> frozenset[str]:
    """Returns the columns of the feature table that these slice columns read."""
    return frozenset(column for name in names for column in find_slice_column(name).reads)
