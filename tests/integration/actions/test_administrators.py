"""Tokens that an administrator orders over the network, and that what administrators change is logged as theirs."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.actions.authenticate import authenticate
from app.actions.issue_token_for_administrator import issue_token_for_administrator
from app.actions.list_access_tokens import list_access_tokens, page_of_tokens, show_access_token
from app.actions.list_sessions import page_of_sessions, show_session
from app.actions.lock_down import lock_down, lockdown_since
from app.actions.revoke_access_token import revoke_access_token
from app.actions.revoke_session import revoke_session
from app.actions.sign_in_by_token import sign_in_by_token
from app.actions.stop_intake import look_at_drain, resume_intake, stop_intake
from app.crypto.token import new_id
from app.domain.access_token import Role, TokensShown
from app.domain.audit_events import Reason
from app.domain.errors import (
    AlreadyAnswered,
    ClientGone,
    LockedDown,
    NotAuthenticated,
    SessionNotFound,
    TokenNotFound,
)
from app.domain.idempotency import REPLACEABLE_FOR
from app.lifecycle.new_access_token import TokenRequest
from app.lifecycle.reply import LOCAL, Reply
from tests.integration.actions.stories import a_caller, log_of

DAYS = timedelta(days=90)


@pytest.fixture
def admin(resources):
    return a_caller(resources, role=Role.ADMIN)


def issue(resources, admin, *, key=None, reply=LOCAL, name="lab", **wanted):
    request = TokenRequest(name, Role.STAFF, DAYS, **wanted)
    return issue_token_for_administrator(resources, admin, request, key=key, reply=reply)


def test_a_double_click_makes_one_token(resources, admin):
    """Whichever of the two comes second: one row, and one secret that counts."""
    with ThreadPoolExecutor(8) as threads:
        issued = list(threads.map(lambda _: issue(resources, admin, key="k" * 16), range(8)))
    assert len({each.row.id for each in issued}) == 1
    assert len(list_access_tokens(resources.database)) == 2
    assert sorted(each.replaced for each in issued) == [False] + [True] * 7
    accepted = [each for each in issued if accepts(resources, each.token)]
    assert len(accepted) == 1
    assert [each.get("outcome") for each in log_of(resources, token=issued[0].row.id)] == [None] + ["replaced"] * 7


def accepts(resources, token):
    try:
        return authenticate(resources, token) is not None
    except NotAuthenticated:
        return False


def test_a_secret_is_replaced_only_while_it_may_have_been_lost(resources, admin, time):
    key = "k" * 16
    first = issue(resources, admin, key=key)
    other = a_caller(resources, role=Role.ADMIN)
    assert issue(resources, other, key=key, name="another").row.id != first.row.id, "a key is of one administrator"
    time.pass_by(REPLACEABLE_FOR - timedelta(seconds=1))
    second = issue(resources, admin, key=key)
    assert second.row == first.row, "it ends when the first one would have"
    time.pass_by(1)
    with pytest.raises(AlreadyAnswered):
        issue(resources, admin, key=key)
    revoke_access_token(resources.database, resources.clock, first.row.id)
    with pytest.raises(AlreadyAnswered):
        issue(resources, admin, key=key)


@pytest.mark.parametrize("refusal", [ClientGone, LockedDown, NotAuthenticated])
def test_what_happens_while_the_request_waits_counts(resources, admin, refusal):
    """Checked in the transaction that makes the token: a client that is gone, a lockdown, a revoked administrator."""
    reply = LOCAL
    if refusal is ClientGone:
        reply = Reply(lambda: True)
    elif refusal is LockedDown:
        lock_down(resources.database, resources.clock)
    else:
        revoke_access_token(resources.database, resources.clock, admin.token_id)
    with pytest.raises(refusal):
        issue(resources, admin, reply=reply)
    assert [row.id for row in list_access_tokens(resources.database)] == [admin.token_id]


def test_the_log_names_the_administrator(resources, admin):
    """Not `operator`, which is a command on the machine."""
    made = issue(resources, admin)
    revoke_access_token(resources.database, resources.clock, made.row.id, reason=Reason.TEST, caller=admin)
    stop_intake(resources.database, resources.clock, caller=admin)
    resume_intake(resources.database, resources.clock, caller=admin)
    lock_down(resources.database, resources.clock, Reason.INCIDENT, caller=admin)
    entries = log_of(resources)[-5:]
    assert [(each["actor"], each.get("reason")) for each in entries] == [
        (admin.actor, reason) for reason in (None, "test", None, None, "incident")
    ]
    assert all("operator" not in each for each in entries)


def test_pages_follow_each_other_whatever_is_added_meanwhile(resources, admin, time):
    made = []
    for number in range(7):
        time.pass_by(1)
        made.append(issue(resources, admin, name=f"lab {number}").row.id)
    found, after = [], None
    for _ in range(4):
        page = page_of_tokens(resources.database, resources.clock.now(), TokensShown.VALID, after=after, limit=2)
        found += [row.id for row in page.rows]
        after = page.following
        issue(resources, admin, name=f"late {new_id()}")
    assert found == [*made[::-1], admin.token_id]
    assert after is None
    for _ in range(3):
        time.pass_by(1)
        sign_in_by_token(resources, admin, address="192.0.2.1", earlier=None)
    now = resources.clock.now()
    first, after = page_of_sessions(resources.database, now, ended=False, after=None, limit=2)
    second, end = page_of_sessions(resources.database, now, ended=False, after=after, limit=2)
    assert (len(first), len({each.row.id for each in (*first, *second)}), end) == (2, 3, None)


@pytest.mark.parametrize("unknown", ["", "x", "\0", "é" * 22, "A" * 22, "A" * 5000])
def test_an_id_that_is_none_is_not_found(resources, unknown):
    """PostgreSQL refuses some of these texts; that is no failure of the database."""
    with pytest.raises(TokenNotFound):
        show_access_token(resources.database, unknown)
    with pytest.raises(SessionNotFound):
        show_session(resources.database, resources.clock.now(), unknown)


def revoke(resources, by, other):
    revoke_access_token(resources.database, resources.clock, other.token_id, caller=by)


def sign_out(resources, by, other):
    session = sign_in_by_token(resources, other, address="unknown", earlier=None).row.id
    revoke_session(resources.database, resources.clock, session, caller=by)


def stop(resources, by, _other):
    stop_intake(resources.database, resources.clock, caller=by)


def resume(resources, by, _other):
    resume_intake(resources.database, resources.clock, caller=by)


def begin_lockdown(resources, by, _other):
    lock_down(resources.database, resources.clock, caller=by)


@pytest.mark.parametrize("act", [revoke, sign_out, stop, resume, begin_lockdown])
def test_an_administrator_who_was_revoked_meanwhile_changes_nothing(resources, admin, act):
    """The request was admitted and waited, for a thread or the database's lock; somebody was faster."""
    other = a_caller(resources, role=Role.ADMIN)
    revoke(resources, other, admin)
    before = len([each for each in log_of(resources) if each["actor"] == admin.actor])
    with pytest.raises(NotAuthenticated):
        act(resources, admin, other)
    assert len([each for each in log_of(resources) if each["actor"] == admin.actor]) == before
    assert lockdown_since(resources.database) is None
    assert look_at_drain(resources.database).since is None
    assert other.token_id in {row.id for row in list_access_tokens(resources.database) if row.revoked_at is None}
