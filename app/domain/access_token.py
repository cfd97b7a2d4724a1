"""Rules of access tokens: the roles, and what each may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.errors import NotAllowed, NotAuthenticated


class Role(StrEnum):
    """What the holder of a token is."""

    STAFF = "staff"
    AUDITOR = "auditor"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a token that was checked. `actor` is how the log names it."""

    token_id: str
    name: str
    role: Role
    expires_at: datetime | None

    @property
    def actor(self) -> str:
        """The log's name of this caller: its token's id, which tells nothing about a person."""
        return f"token:{self.token_id}"

    @property
    def owner(self) -> str:
        """Whom a transfer that this caller opens belongs to."""
        return owner_of(self.token_id)


def owner_of(token_id: str) -> str:
    """The owner of what was deposited with a token: the token itself."""
    return f"token:{token_id}"


def require_valid(*, revoked_at: datetime | None, expires_at: datetime | None, now: datetime) -> None:
    """Refuse a token that was revoked or has expired."""
    if revoked_at is not None or (expires_at is not None and now >= expires_at):
        raise NotAuthenticated


def require_role(caller: Caller, *roles: Role) -> None:
    """Refuse a caller whose role is not among those given."""
    if caller.role not in roles:
        raise NotAllowed
