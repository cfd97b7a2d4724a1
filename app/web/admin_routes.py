"""Access tokens, sessions, lockdown and intake for administrators: what the commands of the same names do, and less.

What only a command does, such as lifting a lockdown, and why: docs/adr/0033-administrators.md.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.actions.issue_token_for_administrator import issue_token_for_administrator
from app.actions.list_access_tokens import page_of_tokens, show_access_token
from app.actions.list_sessions import ListedSession, page_of_sessions, show_session
from app.actions.lock_down import lock_down, lockdown_since
from app.actions.revoke_access_token import revoke_access_token
from app.actions.revoke_session import revoke_session
from app.actions.stop_intake import Drain, look_at_drain, resume_intake, stop_intake
from app.db.access_token_rows import TokenRow
from app.domain.access_token import Caller, token_state
from app.domain.administration import require_word
from app.domain.duration import parse_duration
from app.domain.transfer_list import Position, parse_position
from app.lifecycle.new_access_token import TokenRequest
from app.runtime.resources import Resources
from app.web.admin_schemas import (
    Intake,
    IntakeRequest,
    Lockdown,
    LockdownRequest,
    NewTokenRequest,
    SessionList,
    SessionListed,
    SessionListQuery,
    TokenCreated,
    TokenList,
    TokenListed,
    TokenListQuery,
)
from app.web.guard import CurrentCaller, CurrentResources, GuardedRoute, reply_of
from app.web.idempotency import key_of
from app.web.lockdown_word import lockdown_word, lockdown_words
from app.web.pages.catalogues import language_of
from app.web.queries import ReasonQuery

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["administration"])


@router.get("/access-tokens")
async def list_tokens(
    caller: CurrentCaller, resources: CurrentResources, asked: Annotated[TokenListQuery, Query()]
) -> TokenList:
    """Return a page of the access tokens, newest first, with their state and last use."""
    now, after = resources.clock.now(), _position(asked.after)
    page = await resources.in_thread(
        page_of_tokens, resources.database, now, asked.show, after=after, limit=asked.limit
    )
    tokens = [_token_listed(resources, row, caller) for row in page.rows]
    return TokenList(tokens=tokens, next=_next(page.following), ending_unreplaced=page.ending)


@router.post("/access-tokens", status_code=201)
async def create_token(
    request: Request, asked: NewTokenRequest, caller: CurrentCaller, resources: CurrentResources
) -> TokenCreated:
    """Create an access token, which is shown only in this response."""
    lifetime = parse_duration(asked.expires_in)
    wanted = TokenRequest(asked.name, asked.role, lifetime, asked.owner)
    key, reply = key_of(request), reply_of(request)
    issued = await resources.in_thread(issue_token_for_administrator, resources, caller, wanted, key=key, reply=reply)
    row = issued.row
    return TokenCreated(
        id=row.id,
        token=issued.token,
        name=row.name,
        role=row.role,
        expires_at=row.created_at + lifetime,
        owner=row.owner,
    )


@router.delete("/access-tokens/{token_id}", status_code=204, response_class=Response)
async def revoke_token(
    token_id: str, caller: CurrentCaller, resources: CurrentResources, asked: Annotated[ReasonQuery, Query()]
) -> Response:
    """Revoke a token at once and permanently. Idempotent: one that is revoked stays so."""
    await resources.in_thread(show_access_token, resources.database, token_id)
    await resources.in_thread(
        revoke_access_token, resources.database, resources.clock, token_id, reason=asked.reason, caller=caller
    )
    return Response(status_code=204)


@router.get("/sessions")
async def list_browser_sessions(
    caller: CurrentCaller, resources: CurrentResources, asked: Annotated[SessionListQuery, Query()]
) -> SessionList:
    """Return a page of the sessions, newest first, with whom each name in the log stands for."""
    now, after = resources.clock.now(), _position(asked.after)
    listed, following = await resources.in_thread(
        page_of_sessions, resources.database, now, ended=asked.ended, after=after, limit=asked.limit
    )
    return SessionList(sessions=[_session_listed(each, caller) for each in listed], next=_next(following))


@router.delete("/sessions/{session_id}", status_code=204, response_class=Response)
async def revoke_browser_session(
    session_id: str, caller: CurrentCaller, resources: CurrentResources, asked: Annotated[ReasonQuery, Query()]
) -> Response:
    """Sign a browser out at once. Idempotent: a session that has ended keeps its state."""
    await resources.in_thread(show_session, resources.database, resources.clock.now(), session_id)
    await resources.in_thread(
        revoke_session, resources.database, resources.clock, session_id, reason=asked.reason, caller=caller
    )
    return Response(status_code=204)


@router.get("/lockdown")
async def lockdown_status(request: Request, resources: CurrentResources) -> Lockdown:
    """Return whether the service is locked down."""
    return _lockdown(request, await resources.in_thread(lockdown_since, resources.database))


@router.put("/lockdown")
async def begin_lockdown(
    request: Request, asked: LockdownRequest, caller: CurrentCaller, resources: CurrentResources
) -> Lockdown:
    """Refuse deposits, claims and downloads, and abort running ones within a second. Idempotent. Only `caducee lockdown
    off` lifts it.
    """
    require_word(asked.word, lockdown_words())
    since = await resources.in_thread(lock_down, resources.database, resources.clock, asked.reason, caller=caller)
    return _lockdown(request, since)


@router.get("/intake")
async def intake_status(resources: CurrentResources) -> Intake:
    """Return whether new transfers are accepted."""
    return _intake(await resources.in_thread(look_at_drain, resources.database))


@router.put("/intake")
async def set_intake(asked: IntakeRequest, caller: CurrentCaller, resources: CurrentResources) -> Intake:
    """Accept no new transfers, while those that exist go on, or accept them again. Idempotent."""
    act = stop_intake if asked.intake_off else resume_intake
    return _intake(await resources.in_thread(act, resources.database, resources.clock, caller=caller))


def _position(after: str | None) -> Position | None:
    return None if after is None else parse_position(after)


def _next(position: Position | None) -> str | None:
    return None if position is None else str(position)


def _token_listed(resources: Resources, row: TokenRow, caller: Caller) -> TokenListed:
    state = token_state(revoked_at=row.revoked_at, expires_at=row.expires_at, now=resources.clock.now())
    return TokenListed(**asdict(row), state=state, current=row.id == caller.token_id)


def _session_listed(listed: ListedSession, caller: Caller) -> SessionListed:
    own = caller.session is not None and caller.session.id == listed.row.id
    state = "open" if listed.ending is None else listed.ending.value
    return SessionListed(**asdict(listed.row), actor=listed.row.actor, state=state, current=own)


def _lockdown(request: Request, since: datetime | None) -> Lockdown:
    word = lockdown_word(language_of(request.headers.get("accept-language")))
    return Lockdown(locked_down=since is not None, since=since, word=word)


def _intake(drain: Drain) -> Intake:
    return Intake(
        intake_off=drain.since is not None,
        since=drain.since,
        held=drain.held,
        last_expires_at=drain.last_expires_at,
    )
