"""Sign in somebody who returns from the identity provider.

1. The return belongs to a sign-in that this browser began, within 10 minutes.
2. The provider exchanges the code, once, for an ID token.
3. The ID token is signed by the provider, for this service and this sign-in.
4. Its claims give one role, and one owner.
5. A new session starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from app.crypto.session_secret import SignInAttempt, pseudonym_of
from app.db import service_rows
from app.domain.errors import Refusal, SignInExpired, SignInNotOffered, SignInRefused
from app.domain.session import SIGN_IN_LASTS
from app.domain.sign_in import Person, person_of
from app.lifecycle import session_start
from app.lifecycle.session_start import SessionHolder, StartedSession
from app.runtime.identity_provider import IdentityProvider
from app.runtime.resources import Resources

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, repr=False)
class ProviderReturn:
    """What a browser brings back: the parameters of the provider's answer, and the attempt from its cookie."""

    attempt: SignInAttempt | None
    state: str
    code: str | None
    issuer: str | None


async def sign_in_by_provider(
    resources: Resources, returned: ProviderReturn, *, address: str, earlier: bytes | None
) -> StartedSession:
    """Start a session for who signed in. `earlier`: the secret of the browser's last session, which ends.

    Raises SignInNotOffered, SignInExpired, SignInRefused, AuthenticationTooWeak, RoleMissing, TwoRoles, TeamUnclear,
    ProviderOutOfReach, ProviderAnswerUnusable. Refused people are counted for the log; nothing of them is logged.
    """
    if resources.provider is None:
        raise SignInNotOffered
    try:
        person, id_token = await _signed_in(resources, resources.provider, returned)
    except Refusal as refusal:
        log.warning("sign_in_refused", code=refusal.code)
        resources.refused_sign_ins.add(address)
        raise
    started = await resources.in_thread(_start, resources, person, address, earlier)
    return replace(started, id_token=id_token)


async def _signed_in(resources: Resources, provider: IdentityProvider, returned: ProviderReturn) -> tuple[Person, str]:
    now, attempt = int(resources.clock.now().timestamp()), returned.attempt
    if attempt is None or not attempt.is_state(returned.state):
        raise SignInExpired
    if not 0 <= now - attempt.begun_at < SIGN_IN_LASTS.total_seconds():
        raise SignInExpired
    if returned.code is None or returned.issuer not in {None, provider.issuer}:  # RFC 9207
        raise SignInRefused
    claims, id_token = await provider.redeem(returned.code, attempt, now)
    return person_of(claims, resources.settings.provider_rules), id_token


def _start(resources: Resources, person: Person, address: str, earlier: bytes | None) -> StartedSession:
    with resources.database.reading() as connection:
        installation_id = service_rows.get(connection).installation_id
    who = SessionHolder(
        role=person.role,
        owner=person.owner,
        name=person.name,
        person=pseudonym_of(person.subject, installation_id),
        subject=person.subject,
        provider_session=person.provider_session,
    )
    return session_start.start(resources, who, address=address, earlier=earlier)
