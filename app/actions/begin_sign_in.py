"""Begin a sign-in at the identity provider."""

from __future__ import annotations

from app.crypto.session_secret import SignInAttempt
from app.domain.errors import SignInNotOffered
from app.runtime.resources import Resources


async def begin_sign_in(resources: Resources) -> tuple[str, SignInAttempt]:
    """Return the provider's address for a new attempt, and the attempt, which the browser keeps in a cookie.

    Raises SignInNotOffered without a provider, ProviderOutOfReach, ProviderAnswerUnusable.
    """
    if resources.provider is None:
        raise SignInNotOffered
    attempt = SignInAttempt.begin(int(resources.clock.now().timestamp()))
    return await resources.provider.sign_in_url(attempt), attempt
