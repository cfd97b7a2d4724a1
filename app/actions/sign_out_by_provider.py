"""End the sessions that a provider's logout token names (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from app.crypto.token import digest
from app.db import session_rows
from app.domain.audit_events import Cause
from app.domain.errors import LogoutTokenRefused, SignInNotOffered
from app.domain.session import SessionEnding
from app.domain.sign_in import Claims, provider_session_of, subject_of
from app.lifecycle import session_ends
from app.runtime.provider_tokens import LEEWAY_SECONDS, LOGOUT_MAX_AGE, TokenRefused
from app.runtime.resources import Resources

log = structlog.get_logger()


async def sign_out_by_provider(resources: Resources, logout_token: str, *, address: str) -> int:
    """End the sessions of the person, or of the provider's session, and return how many. A token counts once.

    Raises LogoutTokenRefused, SignInNotOffered, ProviderOutOfReach, ProviderAnswerUnusable.
    """
    if resources.provider is None:
        raise SignInNotOffered
    now = resources.clock.now()
    try:
        claims = await resources.provider.logout_claims(logout_token, int(now.timestamp()))
    except TokenRefused as error:
        log.warning("logout_token_refused", check=str(error))
        raise LogoutTokenRefused from None
    return await resources.in_thread(_end, resources, resources.provider.issuer, claims, address)


def _end(resources: Resources, issuer: str, claims: Claims, address: str) -> int:
    now, by = resources.clock.now(), Cause("provider", address)
    sub, sid = claims.get("sub"), provider_session_of(claims)
    with resources.database.writing(by) as transaction:
        connection = transaction.connection
        if not session_rows.accept_logout_token(connection, digest(str(claims["jti"])), _kept_until(claims)):
            raise LogoutTokenRefused
        if isinstance(sub, str):
            rows = session_rows.of_subject(connection, subject_of(issuer, sub), sid)
        else:
            rows = session_rows.of_provider_session(connection, issuer, sid or "")
        ended = [session_ends.end(transaction, row, SessionEnding.SIGNED_OUT_AT_PROVIDER, now, by) for row in rows]
    return sum(ended)


def _kept_until(claims: Claims) -> datetime:
    """Return when the token is too old to be accepted again."""
    return datetime.fromtimestamp(claims["iat"], UTC) + LOGOUT_MAX_AGE + timedelta(seconds=2 * LEEWAY_SECONDS)
