import datetime

import numpy as np
import pyarrow as pa
import pytest

from transforms import context
from transforms.zones import zone_of

GEO = pa.array(["US>CA>803", "US", "GB>A8", " SG>00 ", "--", "", None])


def unix_ms(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def test_country_is_the_first_two_characters():
    assert context.country(GEO).to_pylist() == ["US", "US", "GB", "SG", "--", None, None]


def test_country_state_is_the_first_five_characters_or_the_country():
    assert context.country_state(GEO).to_pylist() == ["US>CA", "US", "GB>A8", "SG>00", "--", None, None]


def test_platform_counts_from_zero_and_keeps_missing():
    assert context.platform_code(pa.array([1, 2, 3, None])).to_pylist() == [0, 1, 2, None]


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("US", "America/New_York"),
        ("US>CA", "America/Los_Angeles"),
        ("US>AZ", "America/Phoenix"),
        ("US>ZZ", "America/New_York"),
        ("CA>BC", "America/Vancouver"),
        ("AU>08", "Australia/Perth"),
        ("GB>A8", "Europe/London"),
        ("BR", "America/Sao_Paulo"),
        ("IN>07", "Asia/Kolkata"),
        ("--", "America/New_York"),
        ("A1", "America/New_York"),
    ],
)
def test_zone_of_a_place(place, zone):
    assert zone_of(place).key == zone


@pytest.mark.parametrize(
    ("utc", "place", "local"),
    [
        ("2016-06-14T03:59:59.998+00:00", "US>NY", "2016-06-13T23:59:59.998+00:00"),  # the start of the log, daylight saving
        ("2016-06-14T12:00:00+00:00", "US>CA", "2016-06-14T05:00:00+00:00"),
        ("2016-06-14T12:00:00+00:00", "US>AZ", "2016-06-14T05:00:00+00:00"),  # no daylight saving
        ("2016-01-14T12:00:00+00:00", "US>NY", "2016-01-14T07:00:00+00:00"),
        ("2016-06-14T12:00:00+00:00", "IN", "2016-06-14T17:30:00+00:00"),
        ("2016-11-06T05:59:00+00:00", "US>NY", "2016-11-06T01:59:00+00:00"),  # the last minute of daylight saving
        ("2016-11-06T06:00:00+00:00", "US>NY", "2016-11-06T01:00:00+00:00"),
    ],
)
def test_local_time(utc, place, local):
    assert context.local_ms(np.array([unix_ms(utc)]), pa.array([place])).tolist() == [unix_ms(local)]


def test_local_time_of_no_rows():
    assert context.local_ms(np.array([], np.int64), pa.array([], pa.string())).tolist() == []


def test_hour_bins():
    hours = np.arange(24) * 3_600_000
    assert context.hour_bin(hours).tolist() == [5] * 5 + [0] * 3 + [1] * 3 + [2] * 3 + [3] * 5 + [4] * 3 + [5] * 2


@pytest.mark.parametrize(("day", "weekend"), [("2016-06-17", 0), ("2016-06-18", 1), ("2016-06-19", 1), ("2016-06-20", 0)])
def test_weekend(day, weekend):
    assert context.is_weekend(np.array([unix_ms(day + "T13:00:00+00:00")])).tolist() == [weekend]


def test_days_since_published_within_ten_years_only():
    event = unix_ms("2016-06-14T12:00:00+00:00")
    published = [
        "2016-06-14T12:00:00",
        "2016-06-14T11:59:59",
        "2016-06-13T12:00:00",
        "2016-06-14T12:00:01",
        "1900-01-01",
        "2006-06-17T12:00:00",
    ]
    times = pa.array([datetime.datetime.fromisoformat(t) for t in published] + [None], pa.timestamp("ms"))
    assert context.days_since_published(np.full(7, event), times).to_pylist() == [0, 0, 1, None, None, 3650, None]
