"""Features of the display itself: place, platform, local time, and the age of documents."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.tables import DAY_MS
from transforms.zones import zone_of

_HOUR_MS = DAY_MS // 24
_QUARTER_MS = _HOUR_MS // 4
_HOUR_BIN_ENDS = (8, 11, 14, 19, 22)  # of 5-7, 8-10, 11-13, 14-18, 19-21; the rest is night
_NIGHT = 5
_MAX_AGE_DAYS = 3650
_THURSDAY = 3  # 1970-01-01, with Monday as 0


def country(geo_location: pa.Array) -> pa.Array:
    """The country code `CC` of `CC>SS>DMA`; null of null or blank."""
    return pc.utf8_slice_codeunits(_stripped(geo_location), 0, 2)


def country_state(geo_location: pa.Array) -> pa.Array:
    """`CC>SS` of `CC>SS>DMA`, `CC` where there is no state; null of null or blank."""
    return pc.utf8_slice_codeunits(_stripped(geo_location), 0, 5)


def platform_code(platform: pa.Array) -> pa.Array:
    """0 desktop, 1 mobile, 2 tablet from the log's 1 to 3, int64."""
    return pc.cast(pc.subtract(platform, 1), pa.int64())


def local_ms(utc_ms: np.ndarray, places: pa.Array) -> np.ndarray:
    """Wall-clock time where the event happened, daylight saving included.

    Args:
        utc_ms: (n,) int64 Unix ms.
        places: (n,) `CC>SS` or `CC`; the value for a null is meaningless.

    Returns:
        (n,) int64 ms since 1970-01-01 00:00 of the local calendar.
    """
    encoded = pc.fill_null(places, "--").dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    # No zone changes its offset other than at a quarter of an hour UTC: one look-up for each (place, quarter).
    quarter = utc_ms // _QUARTER_MS
    low = int(quarter.min()) if len(quarter) else 0
    span = int(quarter.max()) - low + 1 if len(quarter) else 1
    pairs, inverse = np.unique(codes * span + (quarter - low), return_inverse=True)
    names = encoded.dictionary.to_pylist()
    offsets = [_offset_ms(names[pair // span], (pair % span + low) * _QUARTER_MS) for pair in pairs.tolist()]
    return utc_ms + np.array(offsets, np.int64)[inverse]


def hour_of_day(local: np.ndarray) -> np.ndarray:
    """The hour, 0 to 23. (n,) int64 local ms -> (n,) int64."""
    return local // _HOUR_MS % 24


def hour_bin(local: np.ndarray) -> np.ndarray:
    """Local hours 5-7 -> 0, 8-10 -> 1, 11-13 -> 2, 14-18 -> 3, 19-21 -> 4, else 5. (n,) int64 local ms -> (n,) int64."""
    hour = hour_of_day(local)
    return np.where(hour < 5, _NIGHT, np.searchsorted(_HOUR_BIN_ENDS, hour, side="right"))


def is_weekend(local: np.ndarray) -> np.ndarray:
    """1 on a Saturday or Sunday of the local calendar, else 0. (n,) int64 local ms -> (n,) int64."""
    return ((local // DAY_MS + _THURSDAY) % 7 >= 5).astype(np.int64)


def days_since_published(utc_ms: np.ndarray, publish_time: pa.Array) -> pa.Array:
    """Whole days from a document's publishing to the event; null if unknown or not within 0 to 3650.

    Args:
        utc_ms: (n,) int64 Unix ms of the event.
        publish_time: (n,) timestamp[ms], UTC.

    Returns:
        (n,) int64.
    """
    published = pc.fill_null(publish_time.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    days = (utc_ms - published) // DAY_MS
    unknown = publish_time.is_null().to_numpy(zero_copy_only=False) | (days < 0) | (days > _MAX_AGE_DAYS)
    return pa.array(days, mask=unknown)


def _stripped(geo_location: pa.Array) -> pa.Array:
    stripped = pc.utf8_trim_whitespace(geo_location)
    return pc.if_else(pc.equal(stripped, ""), pa.scalar(None, pa.string()), stripped)


def _offset_ms(place: str, utc_ms: int) -> int:
    moment = datetime.datetime.fromtimestamp(utc_ms / 1000, datetime.UTC)
    offset = moment.astimezone(zone_of(place)).utcoffset()
    assert offset is not None  # aware by construction
    return int(offset.total_seconds() * 1000)
