"""Access tokens: one function finds out who calls, and whatever fails in it denies."""

from datetime import timedelta

import pytest

from app.actions.authenticate import authenticate
from app.actions.issue_access_token import issue_access_token
from app.actions.list_access_tokens import list_access_tokens
from app.actions.revoke_access_token import revoke_access_token
from app.crypto.token import new_access_token, new_id
from app.db import access_token_rows
from app.db.errors import DatabaseUnavailable
from app.domain.access_token import Role
from app.domain.errors import InvalidRequest, NotAuthenticated
from tests.integration.actions.stories import a_transfer, deposit, everything_stored, log_of, run


@pytest.fixture
def issued(resources):
    return issue_access_token(resources, name="Laboratory", role=Role.STAFF, lifetime=timedelta(days=90))


@pytest.mark.parametrize("role", Role)
def test_a_token_stands_for_its_name_and_role(resources, role, time):
    issued = issue_access_token(resources, name=" Laboratory ", role=role, lifetime=None)
    caller = authenticate(resources, issued.token)
    assert (caller.token_id, caller.name, caller.role, caller.expires_at) == (issued.row.id, "Laboratory", role, None)
    assert issued.token.startswith("cad_")


def test_a_token_is_kept_nowhere_and_shown_in_no_repr(resources, issued):
    """Lesson 34: only a digest is stored."""
    assert issued.token not in repr(issued)
    assert issued.token.encode() not in everything_stored(resources)
    assert issued.token[4:47].encode() not in everything_stored(resources)


def test_the_log_tells_of_tokens_without_their_names(resources, issued):
    """Lesson 36."""
    revoke_access_token(resources.database, resources.clock, issued.row.id)
    created, revoked = log_of(resources, token=issued.row.id)
    assert (created["event"], created["role"], revoked["event"]) == ("token.created", "staff", "token.revoked")
    assert "Laboratory" not in str([created, revoked])


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 201])
def test_a_token_needs_a_name(resources, name):
    with pytest.raises(InvalidRequest):
        issue_access_token(resources, name=name, role=Role.STAFF, lifetime=None)
    assert list_access_tokens(resources.database) == []


def altered(token, position):
    return token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]


def test_anything_but_a_token_is_refused_in_the_same_words(resources, issued):
    """Lesson 23: flip any character; one and the same refusal."""
    token = issued.token
    wrong = [altered(token, position) for position in range(len(token))]
    wrong += ["", "cad_", "Bearer " + token, token + " ", token[:-1], token + "A", token.lower(), "\0", "\u00e9" * 53]
    wrong += [new_access_token(), "cad_" + "\ud800" * 49]
    for each in wrong:
        with pytest.raises(NotAuthenticated) as refused:
            authenticate(resources, each)
        assert refused.value.detail == NotAuthenticated.title
    assert authenticate(resources, token).name == "Laboratory"


def test_what_cannot_be_a_token_does_not_reach_the_database(resources, monkeypatch):
    monkeypatch.setattr(access_token_rows, "find_by_digest", None)
    with pytest.raises(NotAuthenticated):
        authenticate(resources, "cad_" + "x" * 49)


def test_a_revoked_token_loses_its_rights_at_once_in_every_process(start_service, resources, issued):
    """Lesson 30 (Gokapi CVE-2026-29061)."""
    other = start_service()
    assert authenticate(other, issued.token).name == "Laboratory"
    assert revoke_access_token(resources.database, resources.clock, issued.row.id) is True
    assert revoke_access_token(resources.database, resources.clock, issued.row.id) is False
    assert revoke_access_token(resources.database, resources.clock, new_id()) is False
    for service in (resources, other):
        with pytest.raises(NotAuthenticated):
            authenticate(service, issued.token)


def test_a_token_expires_at_the_first_instant_of_its_expiry(resources, issued, time):
    time.pass_by(timedelta(days=90) - timedelta.resolution)
    authenticate(resources, issued.token)
    time.pass_by(timedelta.resolution)
    with pytest.raises(NotAuthenticated):
        authenticate(resources, issued.token)


def test_a_revoked_token_loses_what_it_is_uploading(resources, issued, monkeypatch):
    """Lesson 30: also what is under way."""
    caller = authenticate(resources, issued.token)
    transfer = a_transfer(resources, caller)

    async def revoked_meanwhile():
        yield b"x"
        revoke_access_token(resources.database, resources.clock, issued.row.id)
        yield b"y"

    with pytest.raises(NotAuthenticated):
        run(deposit(resources, caller, transfer, revoked_meanwhile()))


def test_a_database_that_fails_denies(resources, issued, monkeypatch):
    """Lesson 24: an exception inside denies."""

    def fail(*_given):
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(access_token_rows, "find_by_digest", fail)
    with pytest.raises(DatabaseUnavailable):
        authenticate(resources, issued.token)


def test_tokens_are_listed_oldest_first_without_the_tokens(resources, issued, time):
    time.pass_by(1)
    second = issue_access_token(resources, name="Second", role=Role.AUDITOR, lifetime=None)
    rows = list_access_tokens(resources.database)
    assert rows == [issued.row, second.row]
    assert issued.token not in str(rows)
