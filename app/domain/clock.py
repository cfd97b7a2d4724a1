"""The rule of time: every process counts by the boot clock, and believes the host's clock only within bounds.

A clock set back must not bring an expired transfer to life, one set a year ahead must not destroy everything, and no
database row may do either (docs/deletion.md). Time is the later of two counts of the boot clock, which nobody can
set: from the anchor that the key vault keeps for this boot, and from the start of this process. `docs/deletion.md` has
the truth table; `tests/integration/retention/test_truth_table_of_time.py` plays it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

BELIEVED = timedelta(minutes=5)
"""How far the host's clock may be from the time, either way, and a process may start ahead of the vault's count."""

BELIEVED_AFTER_REBOOT = timedelta(hours=24)
"""How far past the vault's mark a process may start when the vault has no anchor of this boot."""

DATABASE_APART = timedelta(seconds=60)
"""How far PostgreSQL's clock may be from the time, either way."""

WAIT_BEFORE_TAKING = timedelta(hours=24)
"""After so much running time a host clock that is ahead is taken: destruction must not wait for ever."""

PAUSES_AT_MOST = timedelta(hours=1)
"""The pauses of a machine that are taken without asking, in all, per 24 hours of running."""

STEADY_FOR = timedelta(minutes=2)
STEADY_WITHIN = timedelta(seconds=1)
"""A host clock whose lead changes by no more than this, for so long, belongs to a machine that was paused."""

PAUSES_FORGOTTEN_AFTER = timedelta(hours=24)

ANCHORS_KEPT = 20
"""Of one boot. An older one would only be needed by a database that no scheduler has written to since."""


@dataclass(frozen=True, slots=True)
class Uptime:
    """The boot clock: which boot, and seconds since then, suspended time included."""

    boot_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Anchor:
    """A moment whose wall-clock time was accepted, in the terms of both clocks."""

    wall: datetime
    uptime: Uptime

    def count(self, uptime: Uptime) -> datetime:
        """Return the time at a later moment of the same boot."""
        return self.wall + timedelta(seconds=uptime.seconds - self.uptime.seconds)

    def fields(self) -> dict[str, str | float]:
        """Return the anchor as it stands in a mark of the vault."""
        return {
            "anchor_at": self.wall.isoformat(),
            "anchor_boot_id": self.uptime.boot_id,
            "anchor_boot_seconds": self.uptime.seconds,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Anchor:
        """Read an anchor back. Raises KeyError, TypeError, ValueError."""
        uptime = Uptime(str(fields["anchor_boot_id"]), float(fields["anchor_boot_seconds"]))
        return cls(datetime.fromisoformat(fields["anchor_at"]), uptime)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A host clock that is ahead and not believed: since when, since when its lead is steady, and that lead. All in
    seconds, the first two of the boot clock.
    """

    since: float
    steady_since: float
    lead: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of the machine that was taken: when (seconds of the boot clock) and how long (seconds)."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class BootTime:
    """What the vault keeps of one boot: its latest anchors, the last one in force; pauses taken; the doubt, if any; and
    how often the host's clock was taken since the first anchor.
    """

    anchors: tuple[Anchor, ...]
    pauses: tuple[Pause, ...] = ()
    doubt: Doubt | None = None
    taken: int = 0

    @property
    def anchor(self) -> Anchor:
        """Return the anchor in force."""
        return self.anchors[-1]

    @property
    def boot_id(self) -> str:
        """Return the boot that this is about."""
        return self.anchor.uptime.boot_id

    def doubting(self, other: BootTime) -> BootTime:
        """Return this with the doubt of another, for a vault that cannot keep more."""
        return replace(self, doubt=other.doubt)

    def to_text(self) -> str:
        """Return it as JSON, for a mark of the vault."""
        doubt = None if self.doubt is None else [self.doubt.since, self.doubt.steady_since, self.doubt.lead]
        fields = {
            "anchors": [anchor.fields() for anchor in self.anchors],
            "pauses": [[pause.at, pause.seconds] for pause in self.pauses],
            "doubt": doubt,
            "taken": self.taken,
        }
        return json.dumps(fields)

    @classmethod
    def from_text(cls, text: str) -> BootTime:
        """Read it back. Raises ValueError."""
        try:
            fields = json.loads(text)
            return cls(
                anchors=tuple(Anchor.from_fields(each) for each in fields["anchors"]),
                pauses=tuple(Pause(float(at), float(seconds)) for at, seconds in fields["pauses"]),
                doubt=None if fields["doubt"] is None else Doubt(*map(float, fields["doubt"])),
                taken=int(fields["taken"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not the time of a boot") from error

    def __post_init__(self) -> None:
        """Refuse what is not one boot's: ValueError."""
        if len({anchor.uptime.boot_id for anchor in self.anchors}) != 1:
            raise ValueError("not the time of one boot")


@dataclass(frozen=True, slots=True)
class RememberedTime:
    """What the vault remembers: the latest time that anything was judged by, and the time of this boot, if any."""

    mark: datetime | None = None
    boot: BootTime | None = None

    @property
    def knows_anything(self) -> bool:
        """Whether there is more to go by than the host's word."""
        return self.mark is not None or self.boot is not None

    @classmethod
    def of_marks(cls, boot_id: str, boot: BootTime | None, marks: Iterable[tuple[datetime, Anchor]]) -> RememberedTime:
        """Put together what several marks remember: each the time it was written at, and the anchor of its boot. Where
        the boot's own is lost, the latest of theirs stands in for it.
        """
        every = list(marks)
        if boot is None:
            anchors = [anchor for _, anchor in every if anchor.uptime.boot_id == boot_id]
            latest = max(anchors, key=lambda anchor: anchor.count(anchors[0].uptime), default=None)
            boot = None if latest is None else BootTime((latest,))
        return cls(max((at for at, _ in every), default=None), boot)


@dataclass(frozen=True, slots=True)
class DatabaseTime:
    """What the database says of the time; it moves nothing, and is only compared. `clock` is PostgreSQL's own."""

    mark: datetime
    anchor: Anchor | None
    clock: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The time to go by, the host's lead over it (negative: the host is behind), and why a clock is not believed."""

    now: datetime
    lead: timedelta
    problem: str | None = None


Taking = Literal["pause", "waited"]


def start_of(host: Anchor, remembered: RememberedTime) -> Anchor:
    """Return where a process begins to count that started at `host`, by the host's word.

    It is believed from the vault's count of this boot up to BELIEVED past it; in another boot from the vault's mark up
    to BELIEVED_AFTER_REBOOT past it. Without either, there is only the host's word.
    """
    if remembered.boot is not None:
        earliest = remembered.boot.anchor.count(host.uptime)
        latest = earliest + BELIEVED
    elif remembered.mark is not None:
        earliest, latest = remembered.mark, remembered.mark + BELIEVED_AFTER_REBOOT
    else:
        return host
    return replace(host, wall=min(max(host.wall, earliest), latest))


def problem_of(
    now: datetime, *, host: datetime, counts: tuple[Anchor, ...], database: DatabaseTime | None
) -> str | None:
    """Say which clock is not believed, None when all agree. `counts`: the anchors that this boot had.

    An old mark in the database is no problem: a service that stood still leaves one.
    """
    if abs(host - now) > BELIEVED:
        return f"the host's clock is {_apart(host, now)} the boot clock's count"
    if database is None:
        return None
    if database.clock is not None and abs(database.clock - now) > DATABASE_APART:
        return f"the database's clock is {_apart(database.clock, now)} the boot clock's count"
    if database.mark > now + BELIEVED:
        return f"the time kept in the database is {_apart(database.mark, now)} the boot clock's count"
    if not _agrees(database.anchor, counts):
        return "the database counts this boot's time from another moment than the key vault"
    return None


def _agrees(anchor: Anchor | None, counts: tuple[Anchor, ...]) -> bool:
    """Whether an anchor counts like one that this boot had; one of another boot says nothing."""
    same = [known for known in counts if anchor is not None and known.uptime.boot_id == anchor.uptime.boot_id]
    return anchor is None or not same or any(abs(anchor.count(known.uptime) - known.wall) <= BELIEVED for known in same)


def _apart(one: datetime, other: datetime) -> str:
    """Say how far apart two times are, in words that fit before what the second one is."""
    seconds = timedelta(seconds=round(abs(one - other).total_seconds()))
    return f"{seconds} {'ahead of' if one > other else 'behind'}"


def attend(
    boot: BootTime, judgement: Judgement, uptime: Uptime, *, grace: timedelta = timedelta(0)
) -> tuple[BootTime, Taking | None]:
    """Return what to keep of a boot after a judgement, and whether the host's clock may be taken now.

    A lead that stays the same for STEADY_FOR and fits into PAUSES_AT_MOST is a machine that was paused; any lead is
    taken after WAIT_BEFORE_TAKING. A host clock that is behind is taken by an operator alone: taking it would let
    things live longer. `grace` is added to both, for whoever leaves the taking to another process if there is one.
    """
    pauses = tuple(p for p in boot.pauses if uptime.seconds - p.at < PAUSES_FORGOTTEN_AFTER.total_seconds())
    if judgement.problem is None or judgement.lead <= DATABASE_APART:  # no smaller lead explains any problem
        return replace(boot, pauses=pauses, doubt=None), None
    lead = judgement.lead.total_seconds()
    doubt = boot.doubt or Doubt(uptime.seconds, uptime.seconds, lead)
    if abs(lead - doubt.lead) > STEADY_WITHIN.total_seconds():
        doubt = replace(doubt, steady_since=uptime.seconds, lead=lead)
    kept = replace(boot, pauses=pauses, doubt=doubt)
    spent = sum(pause.seconds for pause in pauses)
    steady = uptime.seconds - doubt.steady_since >= (STEADY_FOR + grace).total_seconds()
    if steady and spent + lead <= PAUSES_AT_MOST.total_seconds():
        return kept, "pause"
    waited = uptime.seconds - doubt.since >= (WAIT_BEFORE_TAKING + grace).total_seconds()
    return kept, "waited" if waited else None


def take(boot: BootTime, host: Anchor, *, pause: timedelta | None = None) -> BootTime:
    """Return the time of a boot after the host's clock was taken as it is: by itself, or because an operator said so.
    `pause`: the lead of a machine that was paused.
    """
    pauses = boot.pauses if pause is None else (*boot.pauses, Pause(host.uptime.seconds, pause.total_seconds()))
    return BootTime((*boot.anchors, host)[-ANCHORS_KEPT:], pauses, taken=boot.taken + 1)
