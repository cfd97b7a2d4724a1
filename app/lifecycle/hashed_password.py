"""Hash the password of a new share, in the issuing queue."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from app.crypto.stretching import Argon2Parameters, new_salt
from app.domain.access_token import Caller
from app.runtime import fairness
from app.runtime.hashing_queue import Place
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class HashedPassword:
    """A stretched password (32 bytes), its salt and its parameters."""

    stretched: bytes
    salt: bytes
    parameters: Argon2Parameters


async def hash_password(resources: Resources, caller: Caller, password: str, place: Place | None) -> HashedPassword:
    """Hash a normalised password with a new salt, in the reserved place if there is one. Raises Busy without one."""
    salt, parameters = new_salt(), resources.settings.argon2
    with nullcontext(place) if place else resources.issuing.place(caller.actor) as held:
        async with resources.issuing.paced(caller.actor, at_once=fairness.ENOUGH), held.turn():
            return HashedPassword(await resources.issuing.stretch(password, salt, parameters), salt, parameters)
