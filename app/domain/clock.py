"""The rules of time: every process counts by the boot clock and trusts the host's clock only within bounds.

A clock set back must not revive an expired transfer, a clock set a year ahead must not destroy everything, and no
database row may do either (docs/deletion.md). The time is the later of two counts of the boot clock, which nobody can
set: one from the anchor that the key vault keeps for this boot, one from the start of this process. `docs/deletion.md`
has the truth table; `tests/integration/retention/test_truth_table_of_time.py` tests every row of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

BELIEVED = timedelta(minutes=5)
"""How far the host's clock may differ from the time, either way, and how far ahead of the vault's count a process may
start.
"""

BELIEVED_AFTER_REBOOT = timedelta(hours=24)
"""How far past the vault's mark a process may start if the vault has no anchor for this boot."""

DATABASE_APART = timedelta(seconds=60)
"""How far PostgreSQL's clock may differ from the time, either way."""

WAIT_BEFORE_TAKING = timedelta(hours=24)
"""A host clock that is ahead is accepted after this much uptime, so that destruction is not delayed forever."""

PAUSES_AT_MOST = timedelta(hours=1)
"""Total length of machine pauses that are accepted without an operator, per 24 hours of uptime."""

STEADY_FOR = timedelta(minutes=2)
STEADY_WITHIN = timedelta(seconds=1)
"""If the host clock's lead changes by at most STEADY_WITHIN during STEADY_FOR, the machine was paused."""

PAUSES_FORGOTTEN_AFTER = timedelta(hours=24)

ANCHORS_KEPT = 20
"""Anchors kept per boot. An older one is needed only for a database that no scheduler has written to since."""


@dataclass(frozen=True, slots=True)
class Uptime:
    """A reading of the boot clock: the boot's id, and seconds since that boot, suspended time included."""

    boot_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Anchor:
    """A moment at which the wall-clock time was accepted, as read from both clocks."""

    wall: datetime
    uptime: Uptime

    def count(self, uptime: Uptime) -> datetime:
        """Return the time at a later moment of the same boot."""
        return self.wall + timedelta(seconds=uptime.seconds - self.uptime.seconds)

    def fields(self) -> dict[str, str | float]:
        """Return the anchor as the fields of a vault mark."""
        return {
            "anchor_at": self.wall.isoformat(),
            "anchor_boot_id": self.uptime.boot_id,
            "anchor_boot_seconds": self.uptime.seconds,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Anchor:
        """Parse the output of `fields`. Raises KeyError, TypeError, ValueError."""
        uptime = Uptime(str(fields["anchor_boot_id"]), float(fields["anchor_boot_seconds"]))
        return cls(datetime.fromisoformat(fields["anchor_at"]), uptime)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A host clock that is ahead and not trusted. `since` (start of the doubt) and `steady_since` (since when the lead
    has been steady) are boot clock readings in seconds; `lead` is in seconds.
    """

    since: float
    steady_since: float
    lead: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A machine pause that was accepted: `at` is a boot clock reading, `seconds` its length; both in seconds."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class BootTime:
    """The vault's record of one boot: its latest anchors, of which the last is in force; accepted pauses; the doubt, if
    any; and how often the host's clock was accepted since the first anchor (`taken`).
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
        """Return the id of this boot."""
        return self.anchor.uptime.boot_id

    def doubting(self, other: BootTime) -> BootTime:
        """Return a copy with the doubt of `other`, for a vault that can store nothing else."""
        return replace(self, doubt=other.doubt)

    def to_text(self) -> str:
        """Serialise to JSON for a vault mark."""
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
        """Parse the output of `to_text`. Raises ValueError."""
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
        """Raise ValueError unless all anchors belong to one boot."""
        if len({anchor.uptime.boot_id for anchor in self.anchors}) != 1:
            raise ValueError("not the time of one boot")


@dataclass(frozen=True, slots=True)
class RememberedTime:
    """The time stored in the vault: the latest time used for any decision, and the record of this boot, if any."""

    mark: datetime | None = None
    boot: BootTime | None = None

    @property
    def knows_anything(self) -> bool:
        """Whether the vault stores any time to check the host's clock against."""
        return self.mark is not None or self.boot is not None

    @classmethod
    def of_marks(cls, boot_id: str, boot: BootTime | None, marks: Iterable[tuple[datetime, Anchor]]) -> RememberedTime:
        """Combine several marks, each with the time it was written and the anchor of its boot. If the record of this
        boot is lost, the latest anchor of this boot among the marks replaces it.
        """
        every = list(marks)
        if boot is None:
            anchors = [anchor for _, anchor in every if anchor.uptime.boot_id == boot_id]
            latest = max(anchors, key=lambda anchor: anchor.count(anchors[0].uptime), default=None)
            boot = None if latest is None else BootTime((latest,))
        return cls(max((at for at, _ in every), default=None), boot)


@dataclass(frozen=True, slots=True)
class DatabaseTime:
    """The time as stored in the database. It is only compared, never adopted. `clock` is PostgreSQL's own clock."""

    mark: datetime
    anchor: Anchor | None
    clock: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The time in force, the host's lead over it (negative: the host is behind), and why a clock is not trusted."""

    now: datetime
    lead: timedelta
    problem: str | None = None


AcceptanceReason = Literal["pause", "waited"]


def start_of(host: Anchor, remembered: RememberedTime) -> Anchor:
    """Return the anchor from which a process counts; `host` is its start by the host's clock.

    The host's time is clamped between the vault's count of this boot and BELIEVED past it; after a reboot, between the
    vault's mark and BELIEVED_AFTER_REBOOT past it. If the vault stores neither, the host's time is used as it is.
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
    """Describe the clock that is not trusted; return None if all agree. `counts`: the anchors of this boot.

    An old mark in the database is no problem: it means that the service was stopped.
    """
    if abs(host - now) > BELIEVED:
        return f"the host's clock is {_apart(host, now)} the boot clock's count"
    if database is None:
        return None
    if database.clock is not None and abs(database.clock - now) > DATABASE_APART:
        return f"the database's clock is {_apart(database.clock, now)} the boot clock's count"
    if database.mark > now + BELIEVED:
        return f"the time stored in the database is {_apart(database.mark, now)} the boot clock's count"
    if not _agrees(database.anchor, counts):
        return "the database's anchor for this boot differs from the key vault's"
    return None


def _agrees(anchor: Anchor | None, counts: tuple[Anchor, ...]) -> bool:
    """Return whether an anchor agrees with one of this boot. An anchor of another boot cannot contradict it."""
    same = [known for known in counts if anchor is not None and known.uptime.boot_id == anchor.uptime.boot_id]
    return anchor is None or not same or any(abs(anchor.count(known.uptime) - known.wall) <= BELIEVED for known in same)


def _apart(one: datetime, other: datetime) -> str:
    """Describe the difference of two times, to be followed by the name of `other`: `0:05:00 ahead of`."""
    seconds = timedelta(seconds=round(abs(one - other).total_seconds()))
    return f"{seconds} {'ahead of' if one > other else 'behind'}"


def attend(
    boot: BootTime, judgement: Judgement, uptime: Uptime, *, grace: timedelta = timedelta(0)
) -> tuple[BootTime, AcceptanceReason | None]:
    """Return the boot's record after a judgement, and the reason to accept the host's clock now, if there is one.

    A lead that is steady for STEADY_FOR and fits into PAUSES_AT_MOST means that the machine was paused; any lead is
    accepted after WAIT_BEFORE_TAKING. Only an operator may accept a host clock that is behind, because that extends
    lifetimes. A process that lets another one accept the clock first adds `grace` to both waits.
    """
    pauses = tuple(p for p in boot.pauses if uptime.seconds - p.at < PAUSES_FORGOTTEN_AFTER.total_seconds())
    if judgement.problem is None or judgement.lead <= DATABASE_APART:  # a lead this small causes no problem
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
    """Return the boot's record after the host's clock was accepted, automatically or by an operator. `pause` is the
    lead of a machine that was paused.
    """
    pauses = boot.pauses if pause is None else (*boot.pauses, Pause(host.uptime.seconds, pause.total_seconds()))
    return BootTime((*boot.anchors, host)[-ANCHORS_KEPT:], pauses, taken=boot.taken + 1)
