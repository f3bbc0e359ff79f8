"""Time zones by country and state, as IANA names.

Countries come from tzdata's zone.tab (the first zone listed of a country) unless `_CHIEF_ZONE` names the one most people live in.
"""

from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo

DEFAULT_ZONE = "America/New_York"
"""For codes that are no country (`--`, `A1`, `EU`): where most of the log's events come from."""

_CHIEF_ZONE = {
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "EC": "America/Guayaquil",
    "FM": "Pacific/Pohnpei",
    "KI": "Pacific/Tarawa",
    "MX": "America/Mexico_City",
    "PF": "Pacific/Tahiti",
    "RU": "Europe/Moscow",
    "US": "America/New_York",
}

_EASTERN, _CENTRAL, _MOUNTAIN, _PACIFIC = "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"
_US_STATES = {
    _EASTERN: "CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV",
    _CENTRAL: "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI",
    _MOUNTAIN: "CO ID MT NM UT WY",
    _PACIFIC: "CA NV OR WA",
    "America/Phoenix": "AZ",
    "America/Anchorage": "AK",
    "Pacific/Honolulu": "HI",
    "America/Puerto_Rico": "PR VI",
    "Pacific/Guam": "GU MP",
    "Pacific/Pago_Pago": "AS",
}
_CA_PROVINCES = {
    "America/Toronto": "ON QC NU",
    "America/Halifax": "NB NS PE",
    "America/St_Johns": "NL",
    "America/Winnipeg": "MB",
    "America/Regina": "SK",
    "America/Edmonton": "AB NT",
    "America/Vancouver": "BC",
    "America/Whitehorse": "YT",
}
# Two numbering systems of Australian states are met: FIPS digits and letters.
_AU_STATES = {
    "Australia/Sydney": "01 02 ACT NSW",
    "Australia/Darwin": "03 NT",
    "Australia/Brisbane": "04 QLD",
    "Australia/Adelaide": "05 SA",
    "Australia/Hobart": "06 TAS",
    "Australia/Melbourne": "07 VIC",
    "Australia/Perth": "08 WA",
}


@cache
def zone_of(country_state: str) -> ZoneInfo:
    """Returns the zone of `CC` or `CC>SS`; the country's chief zone if the state is unknown, else `DEFAULT_ZONE`."""
    return ZoneInfo(_states().get(country_state) or _countries().get(country_state[:2]) or DEFAULT_ZONE)


@cache
def _states() -> dict[str, str]:
    tables = {"US": _US_STATES, "CA": _CA_PROVINCES, "AU": _AU_STATES}
    return {
        f"{country}>{state}": zone
        for country, table in tables.items()
        for zone, states in table.items()
        for state in states.split()
    }


@cache
def _countries() -> dict[str, str]:
    zones: dict[str, str] = {}
    for line in resources.files("tzdata.zoneinfo").joinpath("zone.tab").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            zones.setdefault(country, zone)
    return zones | _CHIEF_ZONE
