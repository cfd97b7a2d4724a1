"""Sign in with an access token. The session lasts no longer than the token is valid."""

from __future__ import annotations

from app.domain.access_token import Caller
from app.lifecycle import session_start
from app.lifecycle.session_start import SessionHolder, StartedSession
from app.runtime.resources import Resources


def sign_in_by_token(resources: Resources, caller: Caller, *, address: str, earlier: bytes | None) -> StartedSession:
    """Start a session of this token, which was authenticated just before. `earlier`: the secret of the browser's last
    session, which ends.
    """
    who = SessionHolder(caller.role, caller.owner, caller.name, token_id=caller.token_id)
    return session_start.start(resources, who, address=address, earlier=earlier)
