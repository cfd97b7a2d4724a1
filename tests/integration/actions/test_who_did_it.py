"""The log says who did it, from where and why; guessed tokens are counted; a token's last use costs next to nothing."""

import pwd
from datetime import datetime, timedelta

import pytest

from app.actions.authenticate import authenticate
from app.actions.delete_transfer import delete_transfer
from app.actions.issue_access_token import issue_access_token
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.log_refused_tokens import log_refused_tokens
from app.actions.note_token_use import note_token_use
from app.actions.revoke_access_token import revoke_access_token
from app.actions.verify_log import verify_log
from app.actions.withdraw_share import withdraw_share
from app.db import access_token_rows
from app.domain.access_token import Role
from app.domain.audit_events import Reason
from app.domain.share import ShareState
from app.runtime import operator_name as operators
from app.runtime.refused_tokens import MOST_COUNTED, MOST_NAMED
from app.storage.signing_folder import SigningFolder
from tests.acceptance.service import until
from tests.integration.actions.stories import log_of, out_of_reach, send


def test_operators_are_named_with_their_reason(resources, caller):
    share, other = send(resources, caller), send(resources, caller)
    withdraw_share(resources, share.share.id, caller=None, reason=Reason.REQUEST)
    delete_transfer(resources, other.id, caller=None, reason=Reason.MISTAKE)
    lock_down(resources.database, resources.clock, Reason.INCIDENT)
    lift_lockdown(resources.database, resources.clock, Reason.TEST)
    revoke_access_token(resources.database, resources.clock, caller.token_id, reason=Reason.OTHER)
    for event, reason in (
        ("share.withdrawn", "request"),
        ("transfer.denied", "mistake"),
        ("lockdown.begun", "incident"),
        ("lockdown.lifted", "test"),
        ("token.revoked", "other"),
    ):
        entry = log_of(resources, event=event, reason=reason)[0]
        assert (entry["actor"], entry["operator"]) == ("operator", operators.operator_name())
    assert all("operator" not in entry for entry in log_of(resources) if entry["actor"] != "operator")
    signing = SigningFolder(resources.settings.signing_dir)
    assert verify_log(resources, signing).problem is None


def test_a_share_that_had_ended_is_not_called_withdrawn_nor_keys_destroyed_that_are_out_of_reach(resources, caller):
    """Nothing is reported that was not observed."""
    sent, gone = send(resources, caller), send(resources, caller)
    assert withdraw_share(resources, sent.share.id, caller=None).keys_destroyed
    assert withdraw_share(resources, sent.share.id, caller=None).state is ShareState.WITHDRAWN
    with out_of_reach(resources.settings.vault_dir):
        assert not delete_transfer(resources, gone.id, caller=None)


@pytest.mark.parametrize(
    ("loginuid", "environment", "named"),
    [
        ("0", {}, "login:root"),
        ("0", {"SUDO_UID": "1", "SUDO_USER": pwd.getpwuid(1).pw_name}, "login:root"),
        (str(2**32 - 1), {"SUDO_UID": "1", "SUDO_USER": pwd.getpwuid(1).pw_name}, f"sudo:{pwd.getpwuid(1).pw_name}"),
        (None, {"SUDO_UID": "1", "SUDO_USER": pwd.getpwuid(1).pw_name}, f"sudo:{pwd.getpwuid(1).pw_name}"),
        (None, {"SUDO_UID": "0", "SUDO_USER": "DUPONT; free text"}, "user:"),
        (None, {"SUDO_USER": "root"}, "user:"),
        (None, {"SUDO_UID": "x", "SUDO_USER": "root"}, "user:"),
        ("nonsense", {}, "user:"),
        ("3999999999", {}, "login:3999999999"),
    ],
)
def test_the_source_of_an_operators_name_stands_beside_it(tmp_path, monkeypatch, loginuid, environment, named):
    file = tmp_path / "loginuid"
    if loginuid is not None:
        file.write_text(loginuid)
    monkeypatch.setattr(operators, "LOGINUID", file)
    for variable in ("SUDO_UID", "SUDO_USER"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert operators.operator_name.__wrapped__().startswith(named)


def test_a_guessing_machine_makes_one_entry_a_minute(resources):
    for _ in range(500):
        resources.refused_tokens.add("203.0.113.7")
    for number in range(5 * MOST_COUNTED):
        resources.refused_tokens.add(f"198.51.{number // 250}.{number % 250}")
        resources.refused_tokens.add(f"2001:db8:1:2:{number:x}::1")
    assert log_refused_tokens(resources) == 500 + 10 * MOST_COUNTED
    assert log_refused_tokens(resources) == 0
    (entry,) = log_of(resources, event="tokens.refused")
    assert (entry["count"], entry["actor"]) == (500 + 10 * MOST_COUNTED, "system")
    named = entry["addresses"].split(" ")
    assert named[:2] == [f"2001:db8:1:2::/64={5 * MOST_COUNTED}", "203.0.113.7=500"]
    assert len(named) == MOST_NAMED


def test_the_last_use_is_written_once_an_hour(resources, time, monkeypatch):
    issued = issue_access_token(resources, name="lab", role=Role.STAFF, lifetime=None)
    writes: list[datetime] = []
    noted = access_token_rows.note_use

    def counted(connection, token_id, hour):
        writes.append(hour)
        noted(connection, token_id, hour)

    def used():
        return authenticate(resources, issued.token).last_used_at

    def use():
        note_token_use(resources, authenticate(resources, issued.token))

    monkeypatch.setattr(access_token_rows, "note_use", counted)
    assert used() is None
    use()
    until(used, what="the note")
    for _ in range(20):
        use()
        time.pass_by(1)
    time.pass_by(timedelta(hours=1))
    use()
    until(lambda: used() == writes[-1] and len(writes) > 1, what="the note of the next hour")
    first, second = writes
    assert (first.minute, first.second, second - first) == (0, 0, timedelta(hours=1))


def test_tokens_that_end_soon_are_found_before_they_do(resources, time):
    for name, lifetime in (("a", 13), ("b", 15), ("c", 1), ("d", None)):
        days = None if lifetime is None else timedelta(days=lifetime)
        issue_access_token(resources, name=name, role=Role.STAFF, lifetime=days)
    time.pass_by(timedelta(minutes=1))

    def soon():
        with resources.database.reading() as connection:
            return [row.name for row in access_token_rows.ending_soon(connection, resources.clock.now())]

    assert soon() == ["c", "a"]
    time.pass_by(timedelta(days=2))
    assert soon() == ["a", "b"]
