"""The rules for an administrator over the network. The command line may do more: docs/adr/0033-administrators.md."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from app.domain.access_token import Role
from app.domain.duration import format_duration
from app.domain.errors import ConfirmationRequired, LifetimeOutOfRange, OnlyByCommand
from app.domain.transfer import tidied

ROLES = (Role.STAFF, Role.AUDITOR)
"""The roles of tokens that are issued over the network."""

SHORTEST = timedelta(hours=1)
LONGEST = timedelta(days=366)
"""The lifetime of a token: over the network, each has an end."""

LIFETIME_DAYS = (7, 30, 90, 180, LONGEST.days)
"""The lifetimes that the page offers."""

LOCKDOWN_WORD = "lock down"
"""What confirms a lockdown; `problems.po` has it in the other languages."""


def require_token_offered(role: Role, lifetime: timedelta) -> None:
    """Refuse a token that only the command line issues. Raises OnlyByCommand, LifetimeOutOfRange."""
    if role not in ROLES:
        raise OnlyByCommand("Only `caducee token create` on the service's machine makes a token of role admin.")
    if not SHORTEST <= lifetime <= LONGEST:
        raise LifetimeOutOfRange(
            f"The lifetime must lie between {format_duration(SHORTEST)} and {format_duration(LONGEST)}."
        )


def require_word(typed: str, words: Iterable[str]) -> None:
    """Raise ConfirmationRequired unless somebody typed one of `words`, in any case and with any spaces."""
    if tidied(typed).casefold() not in {word.casefold() for word in words}:
        raise ConfirmationRequired
