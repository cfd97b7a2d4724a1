"""Rows of sessions, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.crypto.token import new_id
from app.db import access_token_rows, session_rows
from app.db.session_rows import SessionRow
from app.domain.access_token import Role
from app.domain.session import IDLE, LONGEST, SessionEnding
from tests.integration.db.rows import NOBODY, NOW, a_token

ISSUER = "https://login.example.org/100%_sure"
NURSE = f"person:{ISSUER}#nurse"


@pytest.fixture
def connection(database):
    with database.writing() as transaction:
        yield transaction.connection


def a_session(connection, number=0, **changes) -> SessionRow:
    row = SessionRow(
        id=new_id(),
        token_id=None,
        person="P" * 22,
        subject=NURSE,
        provider_session="sid",
        name="Nadia",
        role=Role.STAFF,
        owner=NURSE,
        created_at=NOW,
        used_at=NOW,
        expires_at=NOW + LONGEST,
    )
    row = replace(row, **changes)
    session_rows.create(connection, row, bytes([number]) * 32)
    return row


def used_at(connection, row):
    found = session_rows.find(connection, row.id)
    return found and found.used_at


def test_a_session_is_found_by_its_cookie_until_it_ends(connection):
    row = a_session(connection)
    assert session_rows.find_by_digest(connection, bytes(32)) == session_rows.find(connection, row.id) == row
    assert session_rows.end(connection, row.id, SessionEnding.REVOKED, NOW)
    assert not session_rows.end(connection, row.id, SessionEnding.SIGNED_OUT, NOW)
    assert session_rows.find_by_digest(connection, bytes(32)) is None
    assert session_rows.find(connection, row.id) == replace(row, ended_at=NOW, ending=SessionEnding.REVOKED)
    assert session_rows.every(connection, ended=False) == []
    assert [each.id for each in session_rows.every(connection, ended=True)] == [row.id]


def test_a_use_is_noted_forwards_and_never_after_the_end(connection):
    row = a_session(connection)
    for moment, noted in ((1, 1), (-1, 1), (2, 2)):
        session_rows.note_use(connection, row.id, NOW + timedelta(minutes=moment))
        assert used_at(connection, row) == NOW + timedelta(minutes=noted)
    session_rows.end(connection, row.id, SessionEnding.IDLE, NOW)
    session_rows.note_use(connection, row.id, NOW + IDLE)
    assert used_at(connection, row) == NOW + timedelta(minutes=2)


def test_what_is_due_is_old_or_has_lost_its_token(connection):
    a_token(connection)
    running = a_session(connection, 1)
    idle = a_session(connection, 2, used_at=NOW - IDLE)
    expired = a_session(connection, 3, expires_at=NOW)
    by_token = a_session(connection, 4, token_id=NOBODY, person=None, subject=None)
    assert {row.id for row in session_rows.due(connection, NOW, 10)} == {idle.id, expired.id}
    access_token_rows.revoke(connection, NOBODY, NOW)
    assert {row.id for row in session_rows.due(connection, NOW, 10)} == {idle.id, expired.id, by_token.id}
    assert len(session_rows.due(connection, NOW, 2)) == 2
    assert (by_token.actor, running.actor) == (f"token:{NOBODY}", f"person:{'P' * 22}")


def test_a_provider_ends_sessions_of_its_own_people_only(connection):
    own = a_session(connection, 1)
    unnamed = a_session(connection, 2, provider_session=None)
    other = a_session(connection, 3, provider_session="other")
    doctor = a_session(connection, 4, subject=f"person:{ISSUER}#doctor")
    stranger = a_session(connection, 5, subject="person:https://login.example.org/100xxsure#nurse")
    assert {row.id for row in session_rows.of_subject(connection, NURSE, "sid")} == {own.id, unnamed.id}
    assert {row.id for row in session_rows.of_subject(connection, NURSE, None)} == {own.id, unnamed.id, other.id}
    assert {row.id for row in session_rows.of_provider_session(connection, ISSUER, "sid")} == {own.id, doctor.id}
    assert stranger.id not in {row.id for row in session_rows.of_subject(connection, NURSE, None)}


def test_a_logout_token_is_accepted_once_until_its_age_refuses_it(connection):
    assert session_rows.accept_logout_token(connection, bytes(32), NOW)
    assert not session_rows.accept_logout_token(connection, bytes(32), NOW)
    assert session_rows.accept_logout_token(connection, bytes([1]) * 32, NOW + timedelta(minutes=1))
    session_rows.forget(connection, NOW, timedelta(days=1))
    assert session_rows.accept_logout_token(connection, bytes(32), NOW)
    assert not session_rows.accept_logout_token(connection, bytes([1]) * 32, NOW)


@pytest.mark.parametrize("kept", [timedelta(days=1)])
def test_ended_sessions_are_kept_for_a_while(connection, kept):
    old, recent, running = (a_session(connection, number) for number in range(3))
    session_rows.end(connection, old.id, SessionEnding.REVOKED, NOW - kept - timedelta(seconds=1))
    session_rows.end(connection, recent.id, SessionEnding.REVOKED, NOW - kept)
    session_rows.forget(connection, NOW, kept)
    assert {row.id for row in session_rows.every(connection, ended=True)} == {recent.id, running.id}
