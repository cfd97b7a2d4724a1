"""Sign out: end the session of this browser, then say where its person signs out at the identity provider.

1. The session ends, whatever the provider does.
2. The provider's description names its own sign-out.
"""

from __future__ import annotations

from app.db import session_rows
from app.domain.access_token import Caller
from app.domain.errors import ProviderAnswerUnusable, ProviderOutOfReach
from app.domain.session import SessionEnding
from app.lifecycle import session_ends
from app.runtime.resources import Resources


async def sign_out(resources: Resources, caller: Caller, *, id_token: str | None) -> str | None:
    """End the caller's session, and return the provider's address for signing out there, None if there is none or the
    provider cannot be reached. Idempotent. A caller with a token has no session, and nothing happens.
    """
    if caller.session is None:
        return None
    await resources.in_thread(_end, resources, caller, caller.session.id)
    if resources.provider is None:
        return None
    try:
        return await resources.provider.sign_out_url(id_token)
    except (ProviderOutOfReach, ProviderAnswerUnusable):  # logged there
        return None


def _end(resources: Resources, caller: Caller, session_id: str) -> None:
    with resources.database.writing() as transaction:
        row = session_rows.find(transaction.connection, session_id)
        if row is not None:
            session_ends.end(transaction, row, SessionEnding.SIGNED_OUT, resources.clock.now(), caller.cause())
