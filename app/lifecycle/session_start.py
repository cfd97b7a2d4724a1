"""The start of a session: a new id and a new secret at each sign-in, so that nobody can choose it beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from app.crypto.token import digest, new_id, new_secret
from app.db import session_rows
from app.db.session_rows import SessionRow
from app.domain.access_token import Role
from app.domain.audit_events import Cause, Entry, Event
from app.domain.session import LONGEST, SessionEnding
from app.lifecycle import session_ends
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class SessionHolder:
    """Who signed in: by a token, or at a provider as `subject`, whose pseudonym is `person`."""

    role: Role
    owner: str
    name: str | None = None
    token_id: str | None = None
    person: str | None = None
    subject: str | None = None
    provider_session: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class StartedSession:
    """A session's row, the secret of its cookie, and the ID token that began it; neither of these is stored here."""

    row: SessionRow
    secret: bytes
    id_token: str | None = None


def start(resources: Resources, who: SessionHolder, *, address: str, earlier: bytes | None) -> StartedSession:
    """Start a session, and end the one that this browser had: `earlier` is the secret of its cookie."""
    now, secret = resources.clock.now(), new_secret()
    row = SessionRow(
        id=new_id(),
        token_id=who.token_id,
        person=who.person,
        subject=who.subject,
        provider_session=who.provider_session,
        name=who.name,
        role=who.role,
        owner=who.owner,
        created_at=now,
        used_at=now,
        expires_at=now + LONGEST,
    )
    with resources.database.writing(Cause(row.actor, address)) as transaction:
        before = None if earlier is None else session_rows.find_by_digest(transaction.connection, digest(earlier))
        if before is not None:
            session_ends.end(transaction, before, SessionEnding.REPLACED, now, Cause(row.actor, address))
        session_rows.create(transaction.connection, row, digest(secret))
        transaction.log(
            Entry(
                event=Event.SESSION_STARTED,
                at=now,
                actor=row.actor,
                session=row.id,
                token=row.token_id,
                role=row.role.value,
                expires_at=row.expires_at,
                owner=row.owner,
            )
        )
    return StartedSession(row, secret)
