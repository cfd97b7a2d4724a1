"""Which sessions are listed as running, and why the others are over."""

from datetime import timedelta

import pytest

from app.actions.authenticate import authenticate
from app.actions.issue_access_token import issue_access_token
from app.actions.list_sessions import list_sessions
from app.actions.revoke_access_token import revoke_access_token
from app.actions.revoke_session import revoke_session
from app.actions.sign_in_by_token import sign_in_by_token
from app.domain.access_token import Role
from app.domain.session import IDLE, LONGEST, SessionEnding


@pytest.fixture
def issued(resources):
    return issue_access_token(resources, name="Laboratory", role=Role.STAFF, lifetime=timedelta(days=90))


@pytest.fixture
def session(resources, issued):
    caller = authenticate(resources, issued.token)
    return sign_in_by_token(resources, caller, address="192.0.2.1", earlier=None).row


def endings(resources, *, later=timedelta(0), ended=True):
    now = resources.clock.now() + later
    return [each.ending for each in list_sessions(resources.database, now, ended=ended)]


def test_a_session_whose_token_was_revoked_is_not_open(resources, issued, session):
    """Requests refuse it at once, before anything has ended its row."""
    assert endings(resources, ended=False) == [None]
    revoke_access_token(resources.database, resources.clock, issued.row.id)
    assert endings(resources, ended=False) == []
    assert endings(resources) == [SessionEnding.TOKEN_ENDED]


def test_a_session_is_over_by_time_or_as_its_row_records(resources, session):
    assert endings(resources, later=IDLE) == [SessionEnding.IDLE]
    assert endings(resources, later=LONGEST) == [SessionEnding.EXPIRED]
    assert revoke_session(resources.database, resources.clock, session.id)
    assert endings(resources, later=LONGEST) == [SessionEnding.REVOKED]
