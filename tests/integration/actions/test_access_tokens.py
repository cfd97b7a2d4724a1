"""Access tokens: one function finds out who calls, and whatever fails in it denies."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.actions.authenticate import authenticate
from app.actions.delete_transfer import delete_transfer
from app.actions.give_receipt import give_receipt
from app.actions.issue_access_token import issue_access_token
from app.actions.list_access_tokens import list_access_tokens
from app.actions.list_transfers import list_transfers, show_transfer
from app.actions.revoke_access_token import revoke_access_token
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_access_token, new_id
from app.db import access_token_rows
from app.db.errors import DatabaseUnavailable
from app.db.tables import access_tokens
from app.domain.access_token import Role
from app.domain.audit_events import owner_digest
from app.domain.errors import InvalidRequest, NotAuthenticated, OwnerTaken, ShareNotFound, TransferNotFound
from tests.integration.actions.stories import a_caller, a_transfer, deposit, everything_stored, issue, log_of, run


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


def test_a_colleague_loses_only_its_own_uploads(resources, issued):
    """The credential that uploads is checked, not the one that opened the transfer."""
    first = authenticate(resources, issued.token)
    second = a_caller(resources, owner=first.owner)
    transfer = a_transfer(resources, first)

    async def revoking(token_id):
        yield b"x"
        revoke_access_token(resources.database, resources.clock, token_id)
        yield b"y"

    assert run(deposit(resources, second, transfer, revoking(first.token_id))).size == 2
    with pytest.raises(NotAuthenticated):
        run(deposit(resources, second, transfer, revoking(second.token_id)))


# Owners


def test_a_token_has_an_owner_of_its_own(resources, issued):
    assert issued.row.owner == authenticate(resources, issued.token).owner == "token:Laboratory"


def test_namesakes_never_share_transfers_unasked(resources, issued):
    """Nor with a token that was revoked: its transfers may still be held."""
    for _ in range(2):
        with pytest.raises(OwnerTaken, match="token:Laboratory"):
            issue_access_token(resources, name=" Laboratory", role=Role.STAFF, lifetime=None)
        revoke_access_token(resources.database, resources.clock, issued.row.id)
    assert list_access_tokens(resources.database)[1:] == []


def test_a_name_that_looks_like_an_older_tokens_owner_is_refused(resources, issued):
    """Tokens of before the owners have `token:<id>`, which a name must not reach."""
    with resources.database.writing() as transaction:
        changed = {"owner": f"token:{issued.row.id}"}
        transaction.connection.execute(update(access_tokens).values(changed))
    with pytest.raises(OwnerTaken):
        issue_access_token(resources, name=issued.row.id, role=Role.STAFF, lifetime=None)


def test_two_tokens_made_at_once_never_take_one_owner(resources):
    def make(_):
        try:
            return issue_access_token(resources, name="race", role=Role.STAFF, lifetime=None)
        except OwnerTaken:
            return None

    with ThreadPoolExecutor(4) as threads:
        made = [token for token in threads.map(make, range(8)) if token]
    assert len(made) == 1


def test_a_renewed_token_goes_on_with_the_transfers_of_the_old_one(resources, issued):
    """Deposit, renew, revoke: transfers, shares and receipts are its successor's."""
    old = authenticate(resources, issued.token)
    transfer = a_transfer(resources, old)
    new = a_caller(resources, name="Laboratory", owner=old.owner)
    revoke_access_token(resources.database, resources.clock, issued.row.id)
    run(deposit(resources, new, transfer))
    share = run(issue(resources, new, transfer))
    assert [whole.transfer.id for whole in list_transfers(resources, new).transfers] == [transfer.id]
    withdraw_share(resources, share.id, caller=new)
    delete_transfer(resources, transfer.id, caller=new)
    assert show_transfer(resources, new, transfer.id).transfer.state == "denied"


def test_the_log_names_who_acted_and_whose_it_is(resources, issued):
    """The actor is the token, the owner a digest that only whoever knows the owner can compare."""
    first = authenticate(resources, issued.token)
    second = a_caller(resources, owner=first.owner)
    (created,) = log_of(resources, transfer=a_transfer(resources, second).id)
    assert (created["actor"], created["owner"]) == (second.actor, owner_digest("token:Laboratory", created["salt"]))
    (made,) = log_of(resources, token=second.token_id)
    assert made["owner"] == owner_digest("token:Laboratory", made["salt"])


def test_other_owners_transfers_do_not_exist(resources, issued):
    mine = authenticate(resources, issued.token)
    transfer, other = a_transfer(resources, mine), a_caller(resources)
    run(deposit(resources, mine, transfer))
    share = run(issue(resources, mine, transfer))
    assert list_transfers(resources, other).transfers == []
    for use in (
        lambda: show_transfer(resources, other, transfer.id),
        lambda: delete_transfer(resources, transfer.id, caller=other),
        lambda: give_receipt(resources, transfer.id, caller=other),
        lambda: run(deposit(resources, other, transfer)),
        lambda: run(issue(resources, other, transfer)),
    ):
        with pytest.raises(TransferNotFound):
            use()
    with pytest.raises(ShareNotFound):
        withdraw_share(resources, share.id, caller=other)


@pytest.mark.parametrize(
    "owner",
    ["person:https://login.example.org#8f3a", "team:https://login.example.org#ward-7", "token:n\u00e9phrologie"],
)
def test_an_owner_can_be_a_token_a_person_or_a_team(resources, owner):
    assert a_caller(resources, owner=owner).owner == owner


@pytest.mark.parametrize(
    "owner",
    [
        "",
        "Laboratory",
        "token:",
        "person:me",
        "team:#",
        "team:x#",
        "king:x",
        "token:a\nb",
        " token:a",
        "token:" + "x" * 495,
    ],
)
def test_anything_else_is_no_owner(resources, owner):
    with pytest.raises(InvalidRequest, match="owner"):
        issue_access_token(resources, name="x", role=Role.STAFF, lifetime=None, owner=owner)
    assert list_access_tokens(resources.database) == []


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
