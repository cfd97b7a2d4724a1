"""The time zone in which the service writes times for people; programs and the log get UTC."""

from __future__ import annotations

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import tzlocal

UTC = "UTC"
_NO_PLACE = {"Factory", "localtime"}


def checked_zone(name: str) -> str:
    """Return the IANA name unchanged; empty stands for the host's zone. Raises ValueError for an unknown name."""
    if name and (name in _NO_PLACE or name not in available_timezones()):
        raise ValueError("must be a time zone of the IANA database, like Europe/Paris")
    return name


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return the zone of that name; for an empty name the host's, or UTC if the host states none that is known."""
    return ZoneInfo(name or _host_zone())


def _host_zone() -> str:
    try:
        return checked_zone(tzlocal.get_localzone_name() or "") or UTC
    except (LookupError, ValueError, OSError):
        return UTC
