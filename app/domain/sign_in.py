"""Rules of a sign-in at an identity provider: who a verified ID token says is there, and as what.

1. A subject that can be an owner: one issuer and its `sub`.
2. An authentication that the house accepts, by `acr` or `amr`, where it lists any.
3. One role, from the values of one claim. An administrator's includes the others; staff and auditor together are two.
4. One team, a single string of a claim that users cannot edit, where teams are configured.

Whatever a claim holds that these rules do not expect refuses the sign-in. No other claim is read, and none is kept but
the name, which pages show to its owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.access_token import MAX_OWNER, Role
from app.domain.errors import AuthenticationTooWeak, RoleMissing, SignInRefused, TeamUnclear, TwoRoles
from app.domain.transfer import MAX_FREE_TEXT, is_plain

MAX_SUBJECT = 255
"""Characters of a `sub` (OpenID Connect Core, 2), and of a `sid` here."""

Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """Whom a provider lets in: the values of the role claim for each role, the team claim, and the accepted `acr` or
    `amr` values.
    """

    issuer: str
    role_claim: str
    roles: Mapping[Role, tuple[str, ...]]
    team_claim: str | None
    acr: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in at a provider. `owner` owns what the session deposits."""

    subject: str
    owner: str
    role: Role
    name: str | None
    provider_session: str | None


def person_of(claims: Claims, rules: ProviderRules) -> Person:
    """Return who a verified ID token says is there.

    Raises SignInRefused, AuthenticationTooWeak, RoleMissing, TwoRoles, TeamUnclear.
    """
    subject = subject_of(rules.issuer, _subject(claims))
    if len(subject) > MAX_OWNER:
        raise SignInRefused
    _require_authentication(claims, rules.acr)
    role = _role(claims, rules)
    owner = subject if rules.team_claim is None else f"team:{rules.issuer}#{_team(claims, rules.team_claim)}"
    return Person(subject, owner, role, _name(claims), provider_session_of(claims))


def subject_of(issuer: str, sub: str) -> str:
    """Return the subject of a person at an issuer; with an empty `sub`, the prefix of all the issuer's subjects."""
    return f"person:{issuer}#{sub}"


def provider_session_of(claims: Claims) -> str | None:
    """Return the provider's name of its own session (`sid`), None without one."""
    sid = claims.get("sid")
    return sid if isinstance(sid, str) and 0 < len(sid) <= MAX_SUBJECT else None


def _subject(claims: Claims) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not _is_name(subject):
        raise SignInRefused
    return subject


def _require_authentication(claims: Claims, accepted: tuple[str, ...]) -> None:
    if accepted and not set(accepted) & {*_values(claims.get("acr")), *_values(claims.get("amr"))}:
        raise AuthenticationTooWeak


def _role(claims: Claims, rules: ProviderRules) -> Role:
    given = set(_values(claims.get(rules.role_claim)))
    roles = {role for role, accepted in rules.roles.items() if given & set(accepted)}
    if Role.ADMIN in roles:
        return Role.ADMIN
    if len(roles) > 1:
        raise TwoRoles
    if not roles:
        raise RoleMissing
    return roles.pop()


def _team(claims: Claims, claim: str) -> str:
    """Return the team: one string, or a list of one, as providers write a mapped attribute."""
    teams = _values(claims.get(claim))
    if len(teams) != 1 or len(teams[0]) > MAX_SUBJECT or not _is_name(teams[0]):
        raise TeamUnclear
    return teams[0]


def _name(claims: Claims) -> str | None:
    name = claims.get("name")
    return name if isinstance(name, str) and 0 < len(name) <= MAX_FREE_TEXT and is_plain(name) else None


def _values(claim: object) -> list[str]:
    """Return the strings of a claim that is one string or a list of strings; anything else counts as absent."""
    listed = [claim] if isinstance(claim, str) else claim
    if not isinstance(listed, list) or not all(isinstance(each, str) and each for each in listed):
        return []
    return listed


def _is_name(text: str) -> bool:
    return is_plain(text) and text == text.strip()
