"""Access token rules: roles, validity and permissions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain.errors import NotAllowed, NotAuthenticated


class Role(StrEnum):
    """The role of a token's holder."""

    STAFF = "staff"
    AUDITOR = "auditor"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of a request: a token that passed its checks."""

    token_id: str
    name: str
    role: Role
    expires_at: datetime | None

    @property
    def actor(self) -> str:
        """The caller's name in the log: the token id, which identifies no person."""
        return f"token:{self.token_id}"

    @property
    def owner(self) -> str:
        """The owner of the transfers that this caller creates."""
        return owner_of(self.token_id)


def owner_of(token_id: str) -> str:
    """Return the owner of transfers created with a token: the token itself."""
    return f"token:{token_id}"


def require_valid(*, revoked_at: datetime | None, expires_at: datetime | None, now: datetime) -> None:
    """Raise NotAuthenticated for a revoked or expired token."""
    if revoked_at is not None or (expires_at is not None and now >= expires_at):
        raise NotAuthenticated


def require_role(caller: Caller, *roles: Role) -> None:
    """Raise NotAllowed unless the caller has one of `roles`."""
    if caller.role not in roles:
        raise NotAllowed
