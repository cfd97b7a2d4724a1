"""Access token rules: roles, permissions, and the owner whose transfers a caller may use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from app.domain.audit_events import OPERATOR, Cause, Reason
from app.domain.errors import InvalidRequest, NotAllowed, NotAuthenticated, Refusal, TransferNotFound
from app.domain.transfer import is_plain

MAX_OWNER = 500
"""Characters of an owner: an issuer's URL and a subject of at most 255 characters (OpenID Connect Core, 2)."""


class Role(StrEnum):
    """The role of a token's holder."""

    STAFF = "staff"
    AUDITOR = "auditor"
    ADMIN = "admin"


DEPOSITORS = (Role.STAFF, Role.ADMIN)
AUDITORS = (Role.AUDITOR, Role.ADMIN)
ADMINISTRATORS = (Role.ADMIN,)


@dataclass(frozen=True, slots=True)
class CallerSession:
    """The session of a caller's browser: its id, which is no secret, its last use as noted, and its latest end."""

    id: str
    used_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of a request: a token or a session that passed its checks. `owner` owns the transfers
    it may use; `address` is the client's network address, None outside a request.

    A session that a token began has that token's id. One that an identity provider began has none: `person` is the
    pseudonym of who signed in.
    """

    token_id: str | None
    name: str
    role: Role
    expires_at: datetime | None
    owner: str
    last_used_at: datetime | None = None
    address: str | None = None
    person: str | None = None
    session: CallerSession | None = None

    @property
    def actor(self) -> str:
        """The caller's name in the log: a token's id or a person's pseudonym. Neither names a person by itself."""
        return actor_of(self.token_id, self.person)

    def cause(self, reason: Reason | None = None) -> Cause:
        """Return the cause of what this caller changes."""
        return Cause(self.actor, self.address, reason)


def cause_of(caller: Caller | None, reason: Reason | None = None) -> Cause:
    """Return the cause of what a caller, or an operator (None), changes."""
    return caller.cause(reason) if caller else Cause(OPERATOR, reason=reason)


def actor_of(token_id: str | None, person: str | None = None) -> str:
    """Return the name in the log of a token, or of a person without one. Before version 0.2, a token's name was also
    the owner of its transfers.
    """
    return f"person:{person}" if token_id is None else f"token:{token_id}"


class Owned(Protocol):
    """A row that names its owner, such as a transfer's."""

    @property
    def owner(self) -> str:
        """The owner: `token:<name>`, `person:<issuer>#<subject>` or `team:<issuer>#<value>`."""


_Owned = TypeVar("_Owned", bound=Owned)


def require_owner(
    transfer: _Owned | None, caller: Caller | None, *, refusal: type[Refusal] = TransferNotFound
) -> _Owned:
    """Return the transfer if it exists and the caller's owner owns it; an operator (None) may use any.

    Raises `refusal` otherwise: other owners' transfers do not exist.
    """
    if transfer is None or (caller is not None and transfer.owner != caller.owner):
        raise refusal
    return transfer


def owner_named(name: str) -> str:
    """Return the default owner of a token of this name."""
    return f"token:{name}"


def checked_owner(owner: str) -> str:
    """Check an owner typed by an operator and return it. Raises InvalidRequest unless it is one of the three kinds."""
    kind, _, rest = owner.partition(":")
    issuer, _, value = rest.partition("#")
    known = (kind == "token" and rest) or (kind in {"person", "team"} and issuer and value)
    if not known or len(owner) > MAX_OWNER or owner != owner.strip() or not is_plain(owner):
        raise InvalidRequest("owner: token:NAME, person:ISSUER#SUBJECT or team:ISSUER#VALUE, as `token list` shows it.")
    return owner


def require_valid(*, revoked_at: datetime | None, expires_at: datetime | None, now: datetime) -> None:
    """Raise NotAuthenticated for a revoked or expired token."""
    if revoked_at is not None or (expires_at is not None and now >= expires_at):
        raise NotAuthenticated


ENDS_SOON = timedelta(days=14)
"""Warnings begin this long before a token expires."""


class TokenState(StrEnum):
    """Whether a token is accepted, and for how long."""

    VALID = "valid"
    ENDS_SOON = "ends_soon"
    EXPIRED = "expired"
    REVOKED = "revoked"


class TokensShown(StrEnum):
    """Which tokens a list shows: all that are recorded, those that are accepted, or of these those that end soon."""

    EVERY = "every"
    VALID = "valid"
    ENDING = "ending"


def token_state(*, revoked_at: datetime | None, expires_at: datetime | None, now: datetime) -> TokenState:
    """Return a token's state."""
    if revoked_at is not None:
        return TokenState.REVOKED
    if expires_at is None or expires_at - now > ENDS_SOON:
        return TokenState.VALID
    return TokenState.ENDS_SOON if now < expires_at else TokenState.EXPIRED


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of the hour: as precisely as the last use of a token is kept."""
    return moment.replace(minute=0, second=0, microsecond=0)


def require_role(caller: Caller, *roles: Role) -> None:
    """Raise NotAllowed unless the caller has one of `roles`."""
    if caller.role not in roles:
        raise NotAllowed
