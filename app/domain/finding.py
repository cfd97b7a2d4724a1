"""What `caducee doctor` found: the levels, the shape of a finding, and the rules that need no store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol


class Level(StrEnum):
    """Severity of a finding; only WRONG makes the examination fail."""

    GOOD = "ok"
    NOTE = "note"
    WEAK = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. `do` says what to do; it is empty if there is nothing to do."""

    level: Level
    check: str
    detail: str
    do: str = ""


ENDS_SOON = timedelta(days=14)
ENDED_LATELY = timedelta(days=30)
"""An expired token is reported for this long: whoever used it has noticed by then."""

CHECKPOINT_AGE = timedelta(hours=2)
"""The scheduler signs at least each hour."""

DRILL_AGE = timedelta(days=35)
"""The drill is due each month."""


class Token(Protocol):
    """A row of an access token."""

    @property
    def name(self) -> str:
        """The name that the operator gave it."""

    @property
    def owner(self) -> str:
        """Whose transfers it may use."""

    @property
    def expires_at(self) -> datetime | None:
        """None if it does not expire."""

    @property
    def revoked_at(self) -> datetime | None:
        """None unless revoked."""


def _lasting(tokens: Iterable[Token], now: datetime) -> dict[str, datetime]:
    """Return when the last token of each owner ends."""
    lasting: dict[str, datetime] = {}
    for token in tokens:
        ends = token.expires_at or datetime.max.replace(tzinfo=now.tzinfo)
        lasting[token.owner] = max(ends, lasting.get(token.owner, ends))
    return lasting


def ending_unreplaced(tokens: Iterable[Token], now: datetime) -> int:
    """Return how many tokens end soon although no longer one of their owner replaces them."""
    kept = [token for token in tokens if token.revoked_at is None]
    lasting, soon = _lasting(kept, now), now + ENDS_SOON
    ends = [(token.owner, token.expires_at) for token in kept if token.expires_at is not None]
    return sum(now < end <= soon and lasting[owner] <= soon for owner, end in ends)


def of_tokens(tokens: Iterable[Token], now: datetime) -> Iterable[Finding]:
    """Yield what is to be done about the access tokens: nothing about one that a longer one of its owner replaces."""
    kept = [token for token in tokens if token.revoked_at is None]
    lasting = _lasting(kept, now)
    valid = sum(token.expires_at is None or now < token.expires_at for token in kept)
    if not valid:
        do = "caducee token create NAME --role staff --expires 90d"
        yield Finding(Level.NOTE, "tokens", "no valid access token: nobody can deposit", do)
    else:
        yield Finding(Level.GOOD, "tokens", f"{valid} valid")
    for token in kept:
        ends_at = token.expires_at
        if ends_at is None or lasting[token.owner] > max(ends_at, now + ENDS_SOON):
            continue
        do = "caducee token create NAME --owner OWNER --expires 90d, with the owner of `caducee token list`"
        if now < ends_at <= now + ENDS_SOON:
            yield Finding(Level.WEAK, "tokens", f"{token.name!r} ends {ends_at:%Y-%m-%d}", do)
        elif now - ENDED_LATELY < ends_at <= now:
            yield Finding(Level.WEAK, "tokens", f"{token.name!r} ended {ends_at:%Y-%m-%d}", do)


def of_checkpoint(signed_at: datetime | None, size: int, now: datetime) -> Finding:
    """Judge the age of the log's last checkpoint."""
    do = "caducee audit checkpoint; does the scheduler run?"
    if signed_at is None:
        return Finding(Level.NOTE, "checkpoint", "none signed yet", do)
    said = f"signed {signed_at:%Y-%m-%dT%H:%M:%SZ} over {size} {'entry' if size == 1 else 'entries'}"
    return (
        Finding(Level.WEAK, "checkpoint", said, do) if now - signed_at > CHECKPOINT_AGE else _good("checkpoint", said)
    )


def of_drill(passed_at: datetime | None, failed_at: datetime | None, now: datetime) -> Finding:
    """Judge the last restore drill. `failed_at`: when the last one failed, if none has passed since."""
    do = "caducee audit drill --restored FOLDER (docs/operations.md, The drill)"
    if failed_at is not None:
        said = f"the last one, {failed_at:%Y-%m-%d}, did not pass"
        return Finding(Level.WEAK, "restore drill", said, do)
    if passed_at is None:
        return Finding(Level.NOTE, "restore drill", "none has passed yet", do)
    said = f"passed {passed_at:%Y-%m-%d}"
    return (
        Finding(Level.WEAK, "restore drill", said, do) if now - passed_at > DRILL_AGE else _good("restore drill", said)
    )


def _good(check: str, said: str) -> Finding:
    return Finding(Level.GOOD, check, said)
