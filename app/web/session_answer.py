"""The session of the caller's browser, as `/me` shows it."""

from __future__ import annotations

from fastapi import Request

from app.domain.access_token import Caller
from app.domain.session import IDLE
from app.web.guard import session_token_of
from app.web.schemas import SessionShown


def session_shown(request: Request, caller: Caller) -> SessionShown | None:
    """Return the session with its token, None for a caller that sent an access token."""
    if caller.session is None:
        return None
    return SessionShown(
        id=caller.session.id,
        token=session_token_of(request),
        idle_seconds=int(IDLE.total_seconds()),
        ends_at=caller.session.ends_at,
    )
