"""Rows against witnesses outside the database: whoever writes to it cannot make the report clean over a lie.

Lesson 38: each contradiction is provoked by SQL on a real installation. The same installation untouched is green at
every moment of every life.
"""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.actions import reconcile as reconciling
from app.actions.authenticate import authenticate_session
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.drill_restore import DrillResult, _write_down
from app.actions.keep_time import keep_time
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.reconcile import count_orphans, reconcile
from app.actions.report_retention import report_retention
from app.actions.sign_checkpoint import sign_checkpoint
from app.actions.withdraw_share import withdraw_share
from app.crypto.merkle import leaf_hash
from app.crypto.token import digest, new_secret
from app.domain.access_token import Role
from app.domain.audit_events import Entry
from app.domain.errors import WrongPassword
from app.domain.retention import FORGET_AFTER
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle import session_start
from app.lifecycle.session_start import SessionHolder
from app.storage.vault_marks import read_reconciled, write_reconciled
from tests.full_rights import take_full_rights
from tests.integration.actions.sealed_stories import a_sealed_transfer
from tests.integration.actions.stories import (
    ADDRESS,
    WRONG_PASSWORD,
    Sent,
    a_transfer,
    blob_path,
    claim,
    deposit,
    fetch,
    files_of,
    issue,
    key_path,
    keys_held,
    log_of,
    run,
    send,
    sweep,
    transfer_row,
)

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def report(resources):
    return report_retention(resources, orphans=sum(look.orphans for look in count_orphans(resources)))


def words(resources) -> set[tuple[str, str | None]]:
    return {(each.word, each.transfer) for each in report(resources).witnesses.contradictions}


def alter(resources, statement: str, **values) -> None:
    """One statement of somebody with full rights over the database."""
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        assert transaction.connection.execute(text(statement), values).rowcount > 0


@dataclass
class Lives:
    """Transfers at each stage: two issued, one claimed, one withdrawn, one deleted; each of one file and one share."""

    issued: Sent
    other: Sent
    claimed: Sent
    withdrawn: Sent
    gone: Sent
    claim_id: str

    @property
    def ids(self) -> dict[str, str]:
        """What statements name by `:name`."""
        named = {name: getattr(self, name) for name in ("issued", "other", "claimed", "withdrawn", "gone")}
        shares = {f"{name}_share": sent.share.id for name, sent in named.items()}
        return {name: sent.id for name, sent in named.items()} | shares | {"claim": self.claim_id}


@pytest.fixture
def lives(resources, caller, time) -> Lives:
    gone = send(resources, caller, lifetime=MINUTE)
    time.pass_until(gone.transfer.expires_at + SECOND)
    assert sweep(resources).deleted == 1
    sent = [send(resources, caller, lifetime=2 * DAY, purpose="biology", records=7) for _ in range(4)]
    with pytest.raises(WrongPassword):
        run(claim(resources, sent[0].share, password=WRONG_PASSWORD))
    token = new_secret()
    claimed = run(claim(resources, sent[2].share, token=token))
    name = EntryName(sent[2].id, sent[2].transfer.expires_at, sent[2].share.id)
    resources.vault.record_claim(name.of_claim, digest(token))
    withdraw_share(resources, sent[3].share.id, caller=caller)
    sweep(resources)
    return Lives(sent[0], sent[1], sent[2], sent[3], gone, claimed.claim_id)


T, F, S, C, E = (f"UPDATE {table} SET " for table in ("transfers", "files", "shares", "claims", "audit_entries"))
HOUR_US = 3_600_000_000
LIES = [
    # transfers
    (T + f"expires_at = expires_at + {HOUR_US} WHERE id = :issued", "expiry", "issued"),
    (T + f"expires_at = expires_at - {HOUR_US} WHERE id = :issued", "expiry", "issued"),
    (T + "expires_at = expires_at + 1 WHERE id = :issued", "expiry", "issued"),
    (T + "created_at = created_at + 1000000 WHERE id = :issued", "times", "issued"),
    (T + "closed_at = NULL WHERE id = :issued", "times", "issued"),
    (T + "denied_at = created_at WHERE id = :issued", "times", "issued"),
    (T + "verified_at = created_at WHERE id = :issued", "times", "issued"),
    (T + f"verified_at = verified_at + {HOUR_US} WHERE id = :gone", "times", "gone"),
    (T + "state = 'receiving' WHERE id = :issued", "state", "issued"),
    (T + "state = 'denied' WHERE id = :issued", "state", "issued"),
    (T + "state = 'verified' WHERE id = :issued", "state", "issued"),
    (T + "state = 'keys_destroyed' WHERE id = :issued", "key_left", "issued"),
    (T + "state = 'live' WHERE id = :gone", "state", "gone"),
    (T + "state = 'nonsense' WHERE id = :issued", "unreadable", "issued"),
    (T + "sealed = NOT sealed WHERE id = :issued", "sealed", "issued"),
    (T + "purpose = 'imaging' WHERE id = :issued", "purpose", "issued"),
    (T + "purpose = NULL WHERE id = :issued", "purpose", "issued"),
    (T + "records = 1 WHERE id = :issued", "records", "issued"),
    (T + "due_at = NULL WHERE id = :issued", "due", "issued"),
    (T + f"due_at = due_at + {HOUR_US} WHERE id = :issued", "due", "issued"),
    (T + f"due_at = due_at + {HOUR_US} WHERE id = :claimed", "due", "claimed"),
    # files
    (F + "size = size + 1 WHERE transfer_id = :issued", "files", "issued"),
    (F + "sealed_size = sealed_size - 1 WHERE transfer_id = :issued", "files", "issued"),
    (F + "number = 1 WHERE transfer_id = :issued", "files", "issued"),
    (F + "state = 'receiving' WHERE transfer_id = :issued", "files", "issued"),
    (F + "blob_id = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE transfer_id = :issued", "files", "issued"),
    (F + f"lease_until = created_at + {HOUR_US} WHERE transfer_id = :issued", "files", "issued"),
    ("DELETE FROM files WHERE transfer_id = :issued", "files", "issued"),
    (F + "number = 1, transfer_id = :issued WHERE transfer_id = :other", "files", "issued"),
    # shares
    (S + f"expires_at = expires_at + {HOUR_US} WHERE id = :issued_share", "expiry", "issued"),
    (S + "state = 'issued' WHERE id = :claimed_share", "share_state", "claimed"),
    (S + "state = 'issued' WHERE id = :withdrawn_share", "share_state", "withdrawn"),
    (S + "state = 'completed' WHERE id = :issued_share", "share_state", "issued"),
    (S + "issued_at = issued_at + 1 WHERE id = :issued_share", "share_times", "issued"),
    (S + "used_at = NULL WHERE id = :claimed_share", "share_times", "claimed"),
    (S + "used_at = issued_at WHERE id = :issued_share", "share_times", "issued"),
    (S + "ended_at = NULL WHERE id = :withdrawn_share", "share_times", "withdrawn"),
    (S + "keys_destroyed_at = NULL WHERE id = :withdrawn_share", "share_times", "withdrawn"),
    (S + f"keys_destroyed_at = keys_destroyed_at - {HOUR_US} WHERE id = :withdrawn_share", "share_times", "withdrawn"),
    (S + "failures = 0 WHERE id = :issued_share", "attempts", "issued"),
    (S + "attempts = 0 WHERE id = :issued_share", "attempts", "issued"),
    (S + "keys_destroyed_at = issued_at WHERE id = :issued_share", "key_left", "issued"),
    (S + "transfer_id = :issued WHERE id = :other_share", "shares", "issued"),
    ("DELETE FROM shares WHERE id = :issued_share", "shares", "issued"),
    # claims
    (C + "token_digest = (SELECT verifier_digest FROM shares WHERE id = :issued_share)", "claim_token", "claimed"),
    (C + "allowance = allowance * 10", "allowance", "claimed"),
    (C + f"window_until = window_until + 48 * {HOUR_US}", "window", "claimed"),
    (C + "claimed_at = claimed_at + 1", "claims", "claimed"),
    (C + "bytes_served = -1", "claims", "claimed"),
    (C + "id = 'AAAAAAAAAAAAAAAAAAAAAA'", "claims", "claimed"),
    (C + "share_id = :issued_share", "claims", "claimed"),
    ("DELETE FROM claims", "claims", "claimed"),
    # the log
    ("DELETE FROM audit_entries WHERE transfer = :issued AND event = 'transfer.created'", "entry_missing", "issued"),
    ("DELETE FROM audit_entries WHERE transfer = :issued AND event = 'file.deposited'", "files", "issued"),
    ("DELETE FROM audit_entries WHERE transfer = :issued AND event = 'share.issued'", "shares", "issued"),
    (E + "content = replace(content, '{', '{ ') WHERE event = 'share.keys_destroyed'", "share_times", "withdrawn"),
    ("DELETE FROM audit_entries WHERE transfer = :gone AND event = 'transfer.deleted'", "state", "gone"),
    ("DELETE FROM audit_entries WHERE transfer = :gone", "entry_missing", "gone"),
    (E + "content = NULL WHERE transfer = :issued AND event = 'transfer.created'", "entry_missing", "issued"),
    (E + "content = replace(content, 'biology', 'imaging') WHERE transfer = :issued", "entry_altered", "issued"),
    (E + "at = at + 1 WHERE transfer = :issued AND event = 'transfer.created'", "entry_time", "issued"),
    # the service's own row
    ("UPDATE service_state SET created_at = created_at + 1", "created_at", None),
    ("UPDATE service_state SET last_drill_at = created_at", "last_drill_at", None),
    ("UPDATE service_state SET locked_down_at = created_at", "lockdown", None),
    ("UPDATE service_state SET log_origin = 'caducee.log/other'", "log_origin", None),
]


@pytest.mark.parametrize(("statement", "word", "of"), LIES, ids=[f"{word}: {lie[:70]}" for lie, word, _ in LIES])
def test_a_lie_in_the_database_is_red(resources, lives, statement, word, of):
    keep_time(resources)
    assert (report(resources).exit_code, words(resources)) == (0, set())
    used = {name: value for name, value in lives.ids.items() if f":{name} " in f"{statement} ".replace(")", " ")}
    alter(resources, statement, **used)
    seen = report(resources)
    assert (word, lives.ids[of] if of else None) in words(resources)
    assert seen.exit_code == 1
    assert not seen.rolled_back


def test_another_owner_is_red(resources, lives, caller):
    alter(resources, "INSERT INTO access_tokens (id, name, role, digest, created_at, owner) "
          "SELECT 'AAAAAAAAAAAAAAAAAAAAAA', name, role, verifier_digest, created_at, owner FROM access_tokens, "
          "(SELECT verifier_digest FROM shares LIMIT 1) AS any_digest LIMIT 1")  # fmt: skip
    alter(resources, T + "token_id = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE id = :issued", issued=lives.issued.id)
    assert words(resources) == {("owner", lives.issued.id)}


@pytest.mark.parametrize("owner", ["'token:somebody else'", "'token:' || token_id", "''", "x'00'", "7"])
def test_an_owner_that_the_log_does_not_name_is_red(resources, lives, owner):
    alter(resources, f"UPDATE transfers SET owner = {owner} WHERE id = :issued", issued=lives.issued.id)
    assert words(resources) == {("owner", lives.issued.id)}


def test_a_transfer_whose_rows_are_gone_is_red_by_its_key(resources, lives):
    for table, column in (("claims", "transfer_id"), ("shares", "transfer_id"), ("files", "transfer_id")):
        with resources.database.writing() as transaction:
            statement = text(f"DELETE FROM {table} WHERE {column} = :id")
            transaction.connection.execute(statement, {"id": lives.issued.id})
    alter(resources, "DELETE FROM transfers WHERE id = :id", id=lives.issued.id)
    assert words(resources) == {("row_missing", lives.issued.id)}


def test_a_second_claim_that_the_database_was_made_to_forget_is_red(resources, lives):
    """The record in the vault and the log both know of the first."""
    alter(resources, "DELETE FROM claims")
    alter(resources, S + "state = 'issued', used_at = NULL WHERE id = :id", id=lives.claimed.share.id)
    assert words(resources) == {("share_state", lives.claimed.id), ("share_times", lives.claimed.id),
                                ("claims", lives.claimed.id)}  # fmt: skip


def test_a_claim_that_only_the_vault_knows_is_red(resources, lives):
    share = lives.issued.share
    resources.vault.record_claim(EntryName(lives.issued.id, share.expires_at, share.id).of_claim, bytes(32))
    assert words(resources) == {("share_state", lives.issued.id), ("claims", lives.issued.id)}


def test_a_key_that_came_back_to_a_transfer_that_is_gone_is_red(resources, lives):
    resources.vault.create(EntryName(lives.gone.id, lives.issued.transfer.expires_at), new_secret())
    assert words(resources) == {("key_left", lives.gone.id)}


def test_a_key_under_another_expiry_is_red_though_row_and_log_agree(resources, lives, time):
    """The vault's name is a witness of its own: entries of the log can be forged by who writes to the database."""
    resources.vault.create(EntryName(lives.issued.id, lives.issued.transfer.expires_at + HOUR), new_secret())
    assert words(resources) == {("expiry", lives.issued.id)}


def test_an_open_claim_without_a_record_is_red_after_a_minute(resources, caller, time):
    """The row is written first; a process that dies in between, or a full vault, leaves it so."""
    sent = send(resources, caller)
    run(claim(resources, sent.share))
    assert words(resources) == set()
    resources.vault.destroy([EntryName(sent.id, sent.share.expires_at, sent.share.id).of_claim])
    time.pass_by(MINUTE)
    assert words(resources) == set()
    time.pass_by(SECOND)
    assert words(resources) == {("claim_unrecorded", sent.id)}
    withdraw_share(resources, sent.share.id, caller=caller)
    sweep(resources)
    assert words(resources) == set()


def test_a_record_that_went_with_its_key_at_the_expiry_is_no_lie(resources, caller, time, purge):
    sent = send(resources, caller, lifetime=HOUR)
    run(claim(resources, sent.share))
    time.pass_until(sent.transfer.expires_at)
    purge()
    assert words(resources) == set()


# Untouched, at every moment


def green(resources) -> None:
    seen = report(resources)
    assert (seen.witnesses.contradictions, seen.witnesses.strangers, seen.exit_code) == ([], [], 0)


def test_an_untouched_installation_is_green_through_every_life(resources, caller, time, purge):
    keep_time(resources)

    async def body():
        yield b"half"
        await asyncio.to_thread(green, resources)
        yield b"and half"

    transfer = a_transfer(resources, caller, keep_until_expiry=True)
    green(resources)
    run(deposit(resources, caller, transfer, body()))
    run(deposit(resources, caller, transfer))
    green(resources)
    shares = [run(issue(resources, caller, transfer)) for _ in range(4)]
    green(resources)
    for _ in range(resources.settings.password_attempts):
        with pytest.raises(WrongPassword):
            run(claim(resources, shares[0], password=WRONG_PASSWORD))
        green(resources)
    token = new_secret()
    claimed = run(claim(resources, shares[1], token=token))
    run(fetch(resources, claimed))
    green(resources)
    complete_claim(resources, claim_id=claimed.claim_id, token=token, address=ADDRESS)
    green(resources)
    lapsing = run(claim(resources, shares[2]))
    time.pass_by(30 * MINUTE)
    sweep(resources)
    run(fetch(resources, lapsing))  # moves the window on
    green(resources)
    withdraw_share(resources, shares[3].id, caller=caller)
    for _ in range(4):
        time.pass_by(resources.settings.claim_window / 2)
        keep_time(resources)
        sweep(resources)
        green(resources)
    time.pass_until(transfer.expires_at)
    sweep(resources)
    time.pass_by(MINUTE)
    keep_time(resources)
    green(resources)
    assert transfer_row(resources, transfer.id).state == TransferState.VERIFIED
    time.pass_by(FORGET_AFTER + MINUTE)
    keep_time(resources)
    purge()
    sweep(resources)
    green(resources)


def test_a_sealed_transfer_and_a_deleted_one_are_green(resources, caller, time):
    a_sealed_transfer(resources, caller)
    sent = send(resources, caller)
    green(resources)
    delete_transfer(resources, sent.id, caller=caller)
    green(resources)
    sweep(resources)
    green(resources)


def test_a_claim_that_began_under_a_longer_window_is_green(start_service, resources, caller, time):
    """An operator shortened CADUCEE_CLAIM_WINDOW and restarted the service."""
    run(claim(resources, send(resources, caller).share))
    green(start_service(claim_window="10m"))


def test_lockdown_and_drill_are_green(resources, caller, time):
    keep_time(resources)
    lock_down(resources.database, resources.clock)
    green(resources)
    lift_lockdown(resources.database, resources.clock)
    _write_down(resources, DrillResult(1, 1, 0, []))
    green(resources)


def test_entries_of_version_0_1_are_not_held_against_what_they_do_not_say(resources, caller, monkeypatch):
    content = Entry.content
    monkeypatch.setattr(Entry, "content", lambda entry, *args: content(entry._replace(blob=None, owner=None), *args))
    send(resources, caller)
    assert "blob" not in log_of(resources, event="file.deposited")[0]
    alter(resources, T + "owner = 'token:' || token_id")  # as the upgrade does
    green(resources)


def test_what_an_entry_of_version_0_1_does_not_say_its_actor_does(resources, caller, monkeypatch):
    """The owner was the token then: no other is believed."""
    content = Entry.content
    monkeypatch.setattr(Entry, "content", lambda entry, *args: content(entry._replace(owner=None), *args))
    sent = send(resources, caller)
    assert words(resources) == {("owner", sent.id)}


# The report, and what reconciliation leaves for it


def test_a_file_in_the_vault_that_nobody_understands_is_red(resources, caller):
    sent = send(resources, caller)
    key_path(resources, EntryName(sent.id, sent.transfer.expires_at)).with_name("notes.txt").write_text("?")
    seen = report(resources)
    assert (len(seen.witnesses.strangers), seen.exit_code) == (1, 1)


def test_above_ten_thousand_the_report_quotes_the_last_reconciliation(resources, caller, time, monkeypatch):
    monkeypatch.setattr("app.actions.report_retention.COMPARED", 1)
    lives = [send(resources, caller) for _ in range(2)]
    keep_time(resources)
    assert report(resources).exit_code == 2, "nothing was ever compared"
    reconcile(resources)
    assert report(resources).exit_code == 0
    alter(resources, T + "records = 3 WHERE id = :id", id=lives[0].id)
    reconcile(resources)
    seen = report(resources)
    assert (seen.witnesses.compared_at, seen.exit_code) == (time(), 1)
    assert [(each.word, each.transfer) for each in seen.witnesses.contradictions] == [("records", lives[0].id)]
    time.pass_by(2 * HOUR + SECOND)
    keep_time(resources)
    sweep(resources)
    assert report(resources).exit_code == 2, "older than two hours"


def test_a_reconciliation_from_the_future_proves_nothing(resources, caller, monkeypatch):
    monkeypatch.setattr("app.actions.report_retention.COMPARED", 0)
    send(resources, caller)
    keep_time(resources)
    reconcile(resources)
    last = read_reconciled(resources.vault)
    assert last is not None
    fields = json.loads(last.to_text())
    assert (fields["found"], fields["orphans"], fields["held"]) == (0, 0, 2)
    write_reconciled(resources.vault, replace(last, at=last.at + HOUR))
    assert report(resources).exit_code == 2


def test_reconciliation_says_aloud_what_contradicts_and_what_is_strange(resources, lives, monkeypatch):
    said: dict[str, dict[str, object]] = {}
    monkeypatch.setattr(reconciling.log, "error", lambda event, **told: said.update({event: told}))
    keep_time(resources)
    reconcile(resources)
    assert said == {}, "nothing, of an installation that nobody touched"
    alter(resources, T + "records = 1 WHERE id = :id", id=lives.issued.id)
    (resources.settings.vault_dir / "notes.txt").write_text("?")
    reconcile(resources)
    assert said == {
        "row_contradicts_witness": {"transfers": [lives.issued.id], "count": 1, "what": ["records"], "alert": True},
        "vault_strangers": {"places": ["notes.txt"], "count": 1, "alert": True},
    }


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        F + "size = 'large' WHERE transfer_id = :issued",
        F + "size = -1 WHERE transfer_id = :issued",
        S + "failures = 'many' WHERE transfer_id = :issued",
        S + "attempts = 'many' WHERE transfer_id = :issued",
        T + "records = x'00' WHERE id = :issued",
        E + "at = 'soon' WHERE transfer = :issued",
        E + "leaf_hash = 'none' WHERE transfer = :issued",
        E + "content = CAST(content AS BLOB) WHERE transfer = :issued",
    ],
)
def test_what_no_column_should_hold_is_red_and_keeps_nothing_from_its_end(resources, lives, time, statement):
    """SQLite takes anything anywhere; a comparison that stumbled over it would hold up what it compares."""
    alter(resources, statement, issued=lives.issued.id)
    keep_time(resources)
    assert report(resources).exit_code == 1
    delete_transfer(resources, lives.issued.id, caller=None)
    sweep(resources)
    assert transfer_row(resources, lives.issued.id).state == TransferState.VERIFIED
    assert report(resources).exit_code == 0


# Repair


@pytest.mark.parametrize(
    "statement",
    [
        T + f"expires_at = expires_at + {HOUR_US} WHERE id = :issued",
        T + "expires_at = expires_at + 1 WHERE id = :issued",
        T + "state = 'keys_destroyed' WHERE id = :issued",
        T + "state = 'verified', verified_at = created_at WHERE id = :issued",
        T + "state = 'denied' WHERE id = :issued",
        F + "blob_id = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE transfer_id = :issued",
        S + f"expires_at = expires_at - {HOUR_US} WHERE id = :issued_share",
        "DELETE FROM shares WHERE id = :issued_share",
        "DELETE FROM audit_entries WHERE transfer = :issued AND event = 'share.issued'",
    ],
)
def test_deleting_a_transfer_that_lies_makes_the_report_green_again(resources, lives, time, statement):
    blob = files_of(resources, lives.issued.id)[0].blob_id
    used = {name: value for name, value in lives.ids.items() if f":{name} " in f"{statement} "}
    alter(resources, statement, **used)
    assert report(resources).exit_code == 1
    delete_transfer(resources, lives.issued.id, caller=None)
    for _ in range(4):
        sweep(resources)
        time.pass_by(5)
    assert not any(name.transfer_id == lives.issued.id for name in keys_held(resources))
    assert not blob_path(resources, blob).exists()
    keep_time(resources)
    assert (words(resources), report(resources).exit_code) == (set(), 0)


def test_a_lockdown_that_the_row_lost_is_repaired_by_its_own_commands(resources):
    lock_down(resources.database, resources.clock)
    alter(resources, "UPDATE service_state SET locked_down_at = NULL")
    assert words(resources) == {("lockdown", None)}
    lock_down(resources.database, resources.clock)
    assert words(resources) == set()


# The path of entries to the root


def test_a_forged_entry_is_red_at_reconciliation(resources, lives, signing):
    """With a right leaf hash it is as good as any, until its place in the tree is asked for."""
    keep_time(resources)
    sign_checkpoint(resources, signing)
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        rows = transaction.connection.execute(
            text("SELECT sequence, content FROM audit_entries WHERE transfer = :id AND event = 'transfer.created'"),
            {"id": lives.issued.id},
        )
        sequence, content = rows.one()
        forged = content.replace("biology", "imaging")
        leaf = leaf_hash(forged.encode())
        transaction.connection.execute(
            text("UPDATE audit_entries SET content = :content, leaf_hash = :leaf WHERE sequence = :sequence"),
            {"content": forged, "leaf": leaf, "sequence": sequence},
        )
    alter(resources, T + "purpose = 'imaging' WHERE id = :id", id=lives.issued.id)
    assert words(resources) == set(), "row and entry agree, and content and leaf"
    reconcile(resources)
    found = read_reconciled(resources.vault)
    assert found is not None
    assert [(each.word, each.transfer) for each in found.contradictions] == [("entry_unproven", lives.issued.id)]


def test_a_person_without_a_token_deposits_and_another_depositor_is_red(resources):
    """Whose pseudonym the log has is held against the row, like the id of a token."""
    subject = "person:https://login.example.org#nurse"
    who = SessionHolder(Role.STAFF, owner=subject, subject=subject, person="P" * 21 + "A")
    started = session_start.start(resources, who, address="192.0.2.1", earlier=None)
    person = authenticate_session(resources, started.secret)
    sent = send(resources, person)
    keep_time(resources)
    assert words(resources) == set()
    alter(resources, T + "person = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE id = :issued", issued=sent.id)
    assert words(resources) == {("owner", sent.id)}
