"""Durations as people write them: `30m`, `12h`, `7d`, or seconds. Used for settings and requested lifetimes."""

from __future__ import annotations

import re
from datetime import timedelta

from app.domain.errors import InvalidDuration

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
# Nine digits of days still fit a timedelta (limit: 999,999,999 days), so nothing below can overflow.
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")


def parse_duration(value: object) -> timedelta:
    """Parse a duration: whole seconds (int), or text like `90`, `30m`, `12h`, `7d`.

    Raises InvalidDuration for anything else: signs, fractions, spaces, other digits than 0-9, `never`, zero, booleans.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidDuration
    match = _DURATION.fullmatch(str(value))
    if match is None or int(match[1]) == 0:
        raise InvalidDuration
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def format_duration(duration: timedelta) -> str:
    """Format a duration in its largest whole unit: `7d`, `90m`, `45s`."""
    seconds = int(duration.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"
