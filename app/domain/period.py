"""Times as people write them, and the period that a report covers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeGuard

from app.domain.errors import InvalidTime

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open interval of time: `since` is included, `until` is not. Both UTC."""

    since: datetime
    until: datetime

    def __contains__(self, moment: datetime) -> bool:
        """Return whether the moment lies in the interval."""
        return self.since <= moment < self.until


def is_pruned(pruned_before: datetime | None, *, since: datetime) -> TypeGuard[datetime]:
    """Return whether a period from `since` on lacks entries because those before `pruned_before` were pruned."""
    return pruned_before is not None and since < pruned_before


def parse_moment(text: str, *, whole_day: bool = False) -> datetime:
    """Parse a time (RFC 3339 with a zone; seconds are optional) or a date, which means the day's first instant in UTC;
    with `whole_day`, the first instant of the next day. Raises InvalidTime.
    """
    try:
        if _DATE.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return day + timedelta(days=1) if whole_day else day
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, hour or zone; or beyond the years 1 to 9999
        pass
    raise InvalidTime


_LOCAL = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?")


def with_zone(text: str, zone: tzinfo, *, ends: bool = False) -> str:
    """Return a form's local time with its zone, so that `parse_moment` reads it. An hour that occurs twice is the first
    one, or, if the period `ends` with it, the second: the period is never too short. Other texts stay as they are.
    """
    if not _LOCAL.fullmatch(text):
        return text
    try:
        local = datetime.fromisoformat(text).replace(tzinfo=zone, fold=int(ends))
        return local.astimezone(UTC).isoformat()
    except (ValueError, OverflowError):
        return text


def form_time(text: str, zone: tzinfo, *, ends: bool = False) -> str:
    """Return a time as a form's field for local times shows it, whatever form it was given in. A date that `ends` a
    period becomes the first instant after it. A text that is no time stays as it is.
    """
    try:
        moment = parse_moment(with_zone(text, zone, ends=ends), whole_day=ends)
        return moment.astimezone(zone).replace(tzinfo=None).isoformat(timespec="seconds").removesuffix(":00")
    except (InvalidTime, OverflowError):
        return text


def parse_period(since: str, until: str | None, now: datetime) -> Period:
    """Parse both ends; `until` defaults to `now`, and a date as `until` includes that whole day. Raises InvalidTime."""
    period = Period(parse_moment(since), now if until is None else parse_moment(until, whole_day=True))
    if period.since >= period.until:
        raise InvalidTime("The period ends before it begins.")
    return period
