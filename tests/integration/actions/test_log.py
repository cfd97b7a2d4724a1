"""Signing and verifying the log: whatever is changed behind a checkpoint is named."""

import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from app.actions import sweep as sweeping
from app.actions.keep_time import keep_time
from app.actions.log_refused_links import log_refused_links
from app.actions.read_log import read_log
from app.actions.sign_checkpoint import IDLE_INTERVAL, LogRolledBack, sign_checkpoint
from app.actions.verify_log import verify_log
from app.crypto import merkle
from app.crypto.signed_note import Checkpoint, Verifier
from app.db import audit_rows, audit_size, audit_tree, checkpoint_rows, service_rows
from app.db.checkpoint_rows import StoredCheckpoint
from app.db.tables import audit_checkpoints, audit_entries, audit_nodes, service_state
from app.domain.audit_events import Entry, Event
from app.storage import signing_folder
from app.storage.errors import SigningUnavailable
from app.storage.signing_folder import SigningFolder
from app.storage.vault_marks import read_high_water
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import CONTENT, a_caller, claim, fetch, log_of, out_of_reach, run, send, sweep


def append(resources, count=1):
    with resources.database.writing() as transaction:
        now = resources.clock.now()
        transaction.log(*(Entry(event=Event.LINKS_REFUSED, at=now, actor="recipient", count=n) for n in range(count)))


def execute(resources, statement):
    """As somebody with full rights over the database."""
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        return transaction.connection.execute(statement)


def last_of(resources):
    with resources.database.reading() as connection:
        return checkpoint_rows.last(connection)


@pytest.fixture
def signed(resources, signing):
    """A log of 23 entries: signed after 9 and after 20, three more since."""
    size = len(log_of(resources))
    append(resources, 9 - size)
    sign_checkpoint(resources, signing)
    append(resources, 11)
    sign_checkpoint(resources, signing)
    append(resources, 3)
    return resources


# Signing


def test_a_checkpoint_says_size_and_root_of_the_log(resources, signing, time):
    append(resources, 4)
    made = sign_checkpoint(resources, signing)
    assert made is not None
    with resources.database.reading() as connection:
        origin = service_rows.get(connection).log_origin
        root, size = audit_tree.root(connection, made.size), audit_size.size(connection)
    text = Verifier.parse(signing.verifier_key()).verify(made.note)
    assert Checkpoint.parse(text) == Checkpoint(origin, size, root)
    assert last_of(resources) == made == StoredCheckpoint(size, time(), made.note)
    assert signing.last_checkpoint() == made.note


def test_an_idle_log_is_signed_once_an_hour(resources, signing, time):
    """A checkpoint also says "and nothing since"."""
    first = sign_checkpoint(resources, signing)
    assert first is not None
    time.pass_by(IDLE_INTERVAL - timedelta.resolution)
    assert sign_checkpoint(resources, signing) is None
    time.pass_by(timedelta.resolution)
    again = sign_checkpoint(resources, signing)
    assert again is not None
    assert (again.size, again.at) == (first.size, time())
    append(resources)
    assert sign_checkpoint(resources, signing) is not None


def test_every_installation_has_a_key_of_its_own(tmp_path):
    """Lesson 22."""
    keys = {SigningFolder(tmp_path / name).signer("caducee.log/x").verifier_key for name in ("one", "two")}
    assert len(keys) == 2


def test_a_database_that_was_rolled_back_is_not_signed(resources, signing):
    """Lesson 35 (MOVEit's log moves its own start): the last checkpoint is kept outside the database."""
    append(resources, 5)
    kept = sign_checkpoint(resources, signing)
    assert kept is not None
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        for table, column in ((audit_entries, audit_entries.c.sequence), (audit_checkpoints, audit_checkpoints.c.size)):
            transaction.connection.execute(delete(table).where(column >= kept.size - 2))
    with pytest.raises(LogRolledBack, match=rf"has {kept.size - 2} entries and does not contain the {kept.size}"):
        sign_checkpoint(resources, signing)
    assert signing.last_checkpoint() == kept.note


def test_a_log_that_grew_again_after_it_was_rolled_back_is_not_signed_either(resources, signing):
    """Lesson 35: as long as before, or longer, with other entries."""
    append(resources, 5)
    kept = sign_checkpoint(resources, signing)
    assert kept is not None
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        for table in (audit_entries, audit_nodes, audit_checkpoints):
            transaction.connection.execute(delete(table))
    append(resources, kept.size + 5)
    with pytest.raises(LogRolledBack):
        sign_checkpoint(resources, signing)
    assert "not those that were signed" in (verify_log(resources, signing).problem or "")


def test_commands_beside_the_scheduler_see_no_rollback_where_there_is_none(resources, signing):
    """The scheduler, `caducee sweep` and `caducee audit checkpoint` sign and keep the mark at the same time."""

    def sign_and_keep(_worker: int) -> None:
        for _ in range(25):
            append(resources, 1)
            sign_checkpoint(resources, SigningFolder(resources.settings.signing_dir))
            keep_time(resources)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(sign_and_keep, range(3))) == [None] * 3
    newest, mark = last_of(resources), read_high_water(resources.vault)
    assert newest is not None
    assert mark is not None
    assert signing.last_checkpoint() == newest.note
    assert newest.size == mark.log_size == len(log_of(resources))
    assert verify_log(resources, signing).problem is None


def test_whoever_may_only_read_the_signing_folder_holds_up_no_writer(resources, signing, monkeypatch):
    """The network's user, taken over, locks all that it can open: the folder and the group's files."""
    folder = resources.settings.signing_dir
    folder.mkdir(exist_ok=True)
    folder.chmod(0o2750)
    sign_checkpoint(resources, signing)
    readable = [path for path in folder.iterdir() if path.is_file() and path.stat().st_mode & 0o040]
    assert {path.name for path in folder.iterdir() if path.is_file()} - {path.name for path in readable} == {
        "lock",
        "log.key",
    }
    monkeypatch.setattr(signing_folder, "LOCK_SECONDS", 0)
    with ExitStack() as stack:
        for path in (folder, *readable):
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        append(resources, 1)
        assert sign_checkpoint(resources, signing) is not None
        keep_time(resources)
        with signing.locked(), pytest.raises(SigningUnavailable, match="cannot be locked"):
            sign_checkpoint(resources, SigningFolder(folder))


def test_a_crash_after_the_note_was_kept_is_no_rollback(resources, signing, monkeypatch):
    append(resources)

    def crash(*_given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_rows, "add", crash)
        with pytest.raises(KeyboardInterrupt):
            sign_checkpoint(resources, signing)
    assert last_of(resources) is None
    assert verify_log(resources, signing).problem is None
    assert sign_checkpoint(resources, signing) is not None


def test_without_its_folder_nothing_is_signed(resources, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SigningUnavailable):
        sign_checkpoint(resources, SigningFolder(tmp_path / "file"))


# Verifying


def test_a_log_that_nobody_touched_has_no_problem(signed, signing):
    seen = []
    verdict = verify_log(signed, signing, progress=lambda done, size: seen.append((done, size)))
    assert (verdict.entries, verdict.checkpoints, verdict.problem, verdict.sequence) == (23, 2, None, None)
    assert seen == [(23, 23)]


def test_the_log_of_a_whole_life_has_no_problem(resources, signing, caller, time):
    sent = send(resources, caller)
    sign_checkpoint(resources, signing)
    assert run(fetch(resources, run(claim(resources, sent.share)))) == CONTENT
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    sign_checkpoint(resources, signing)
    verdict = verify_log(resources, signing)
    assert (verdict.problem, verdict.entries, verdict.checkpoints) == (None, len(log_of(resources)), 2)


def test_an_unsigned_log_is_checked_by_itself(resources, signing):
    assert verify_log(resources, signing).problem is None
    execute(resources, update(audit_entries).values(content="{}"))
    assert verify_log(resources, signing).problem == "an entry was changed"


@pytest.mark.parametrize("sequence", [0, 1, 8, 9, 14, 19, 20, 22])
def test_a_changed_byte_is_found_in_any_entry(signed, signing, sequence):
    """Lesson 35: change an entry, signed or not."""
    content = str(log_content(signed, sequence))
    for position in {0, len(content) // 2, len(content) - 1}:
        other = chr(ord(content[position]) ^ 1)
        changed = content[:position] + other + content[position + 1 :]
        execute(signed, update(audit_entries).where(audit_entries.c.sequence == sequence).values(content=changed))
        verdict = verify_log(signed, signing)
        assert (verdict.problem, verdict.sequence) == ("an entry was changed", sequence)


def log_content(resources, sequence) -> str | None:
    with resources.database.reading() as connection:
        return audit_rows.page(connection, sequence, 1)[0].content


def canonical(fields) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def rewrite(resources, sequence, content):
    """Change an entry as somebody who knows the format would: its hash and every node above it too."""
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        connection, leaf = transaction.connection, merkle.leaf_hash(content.encode())
        entry = audit_entries.c.sequence == sequence
        connection.execute(update(audit_entries).where(entry).values(content=content, leaf_hash=leaf))
        hashes = [each.leaf_hash for each in audit_rows.page(connection, 0, 1000)]
        for level, position in [(row.level, row.position) for row in connection.execute(audit_nodes.select())]:
            node = (audit_nodes.c.level == level) & (audit_nodes.c.position == position)
            value = merkle.root(hashes[position << level : (position + 1) << level])
            connection.execute(update(audit_nodes).where(node).values(hash=value))


@pytest.mark.parametrize(("sequence", "since"), [(0, 0), (8, 0), (9, 9), (19, 9)])
def test_an_entry_rewritten_with_the_whole_tree_contradicts_what_was_signed(signed, signing, sequence, since):
    """Lesson 35: with full rights over the database; the stretch between two checkpoints is named."""
    fields = json.loads(log_content(signed, sequence) or "")
    rewrite(signed, sequence, canonical({**fields, "actor": "somebody else"}))
    verdict = verify_log(signed, signing)
    assert verdict.problem is not None
    assert "not those that were signed" in verdict.problem
    assert verdict.sequence == since


@pytest.mark.parametrize("content", ["", "x", "[]", "null", "7", '{"sequence": "5"}', '{"sequence": 6}', "{}"])
def test_an_entry_that_is_none_is_named_though_its_hash_is_right(signed, signing, content):
    """Lesson 35: whatever stands there, the verdict is a problem with a place, and no crash."""
    rewrite(signed, 5, content)
    verdict = verify_log(signed, signing)
    assert verdict.problem is not None
    assert verdict.sequence == 5


@pytest.mark.parametrize("sequence", [0, 5, 9, 19, 20, 21])
def test_a_removed_entry_is_found(signed, signing, sequence):
    """Lesson 35."""
    execute(signed, delete(audit_entries).where(audit_entries.c.sequence == sequence))
    verdict = verify_log(signed, signing)
    assert (verdict.problem, verdict.sequence) == ("an entry is missing", sequence)


def test_an_entry_whose_content_was_removed_is_found(signed, signing):
    """Missing content is accepted only below a logged prune boundary."""
    execute(signed, update(audit_entries).where(audit_entries.c.sequence == 7).values(content=None))
    verdict = verify_log(signed, signing)
    assert (verdict.problem, verdict.sequence) == ("an entry's content was removed without being pruned", 7)


@pytest.mark.parametrize(("one", "other"), [(3, 4), (2, 15), (20, 21)])
def test_reordered_entries_are_found(signed, signing, one, other):
    """Lesson 35."""
    with signed.database.writing() as transaction:
        take_full_rights(transaction.connection)
        rows = {each: audit_rows.page(transaction.connection, each, 1)[0] for each in (one, other)}
        for to, from_ in ((one, other), (other, one)):
            values = {"content": rows[from_].content, "leaf_hash": rows[from_].leaf_hash}
            transaction.connection.execute(update(audit_entries).where(audit_entries.c.sequence == to).values(**values))
    verdict = verify_log(signed, signing)
    assert (verdict.problem, verdict.sequence) == ("entries were reordered", one)


@pytest.mark.parametrize("left", [0, 1, 9, 15, 19])
def test_a_log_that_was_cut_below_what_was_signed_is_found(signed, signing, left):
    """Lesson 35: truncate."""
    execute(signed, delete(audit_entries).where(audit_entries.c.sequence >= left))
    verdict = verify_log(signed, signing)
    assert verdict.problem == f"the log was cut: 22 entries existed, {left} are left"  # its tree was stored for 22
    assert (verdict.kind, verdict.sequence) == ("truncated", left)


@pytest.mark.parametrize(
    ("tables", "kind", "existed"),
    [
        ([audit_entries], "truncated", 22),
        ([audit_entries, audit_nodes], "truncated", 20),
        ([audit_entries, audit_nodes, audit_checkpoints], "rolled_back", 20),
    ],
)
def test_a_log_that_was_emptied_is_found(signed, signing, tables, kind, existed):
    """Lesson 35: what is left behind tells, and the last checkpoint is kept outside the database."""
    for table in tables:
        execute(signed, delete(table))
    verdict = verify_log(signed, signing)
    assert (verdict.kind, verdict.sequence) == (kind, 0)
    assert f"{existed} entries" in (verdict.problem or "")


@pytest.mark.parametrize(("level", "position"), [(1, 0), (1, 10), (2, 3), (4, 0)])
def test_a_changed_or_removed_node_is_found(signed, signing, level, position):
    node = (audit_nodes.c.level == level) & (audit_nodes.c.position == position)
    expected = f"the tree's stored node {level}/{position} is not that of its entries"
    for change in (update(audit_nodes).where(node).values(hash=bytes(32)), delete(audit_nodes).where(node)):
        execute(signed, change)
        verdict = verify_log(signed, signing)
        assert verdict.problem == expected
        assert verdict.sequence == ((position + 1) << level) - 1


def test_a_changed_leaf_hash_is_found(signed, signing):
    execute(signed, update(audit_entries).where(audit_entries.c.sequence == 12).values(leaf_hash=bytes(32)))
    assert verify_log(signed, signing).sequence == 12


# Checkpoints


def note_of(resources, size) -> str:
    with resources.database.reading() as connection:
        (note,) = (each.note for each in checkpoint_rows.every(connection) if each.size == size)
    return note


@pytest.mark.parametrize("position", [0, 30, 60, -2, -20, -60])
def test_a_changed_checkpoint_is_found(signed, signing, position):
    note = note_of(signed, 9)
    at = position % len(note)
    altered = note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]
    execute(signed, update(audit_checkpoints).where(audit_checkpoints.c.size == 9).values(note=altered))
    problem = verify_log(signed, signing).problem or ""
    assert "the checkpoint over 9 entries" in problem


def test_a_checkpoint_filed_under_another_size_is_found(signed, signing):
    execute(signed, update(audit_checkpoints).where(audit_checkpoints.c.size == 9).values(size=10))
    assert "belongs to another log or size" in (verify_log(signed, signing).problem or "")


def test_a_checkpoint_of_another_log_is_found(signed, signing):
    execute(signed, update(service_state).values(log_origin="caducee.log/another"))
    assert verify_log(signed, signing).problem is not None


def test_a_checkpoint_signed_by_another_key_is_found(signed, signing, tmp_path):
    with signed.database.reading() as connection:
        origin = service_rows.get(connection).log_origin
    forged = SigningFolder(tmp_path / "forger").signer(origin).sign(Checkpoint(origin, 9, bytes(32)).body())
    execute(signed, update(audit_checkpoints).where(audit_checkpoints.c.size == 9).values(note=forged))
    assert "is not what was signed" in (verify_log(signed, signing).problem or "")


def test_two_checkpoints_that_contradict_each_other_are_a_fork(signed, signing):
    """The same key, made to sign two histories of one size."""
    with signed.database.reading() as connection:
        origin = service_rows.get(connection).log_origin
    signing.keep(signing.signer(origin).sign(Checkpoint(origin, 9, bytes(32)).body()))
    assert "the log was forked" in (verify_log(signed, signing).problem or "")


def test_checkpoints_without_a_signing_folder_prove_nothing(signed, signing):
    with out_of_reach(signed.settings.signing_dir):
        assert "no public key or checkpoint" in (verify_log(signed, signing).problem or "")


def test_a_kept_checkpoint_that_was_altered_is_found(signed, signing):
    signing.keep((signing.last_checkpoint() or "").replace("20\n", "21\n"))
    assert "is not what was signed" in (verify_log(signed, signing).problem or "")


def test_a_checkpoint_removed_from_the_database_hides_nothing(signed, signing):
    execute(signed, delete(audit_checkpoints))
    assert verify_log(signed, signing).problem is None
    rewrite(
        signed,
        3,
        canonical({**json.loads(log_content(signed, 3) or ""), "actor": "x"}),
    )
    assert "not those that were signed" in (verify_log(signed, signing).problem or "")


# Reading


def test_the_log_is_read_in_order_whole_or_its_end(resources):
    append(resources, 10)
    everything = list(read_log(resources))
    assert [entry.sequence for entry in everything] == list(range(len(everything)))
    assert list(read_log(resources, last=3)) == everything[-3:]
    assert list(read_log(resources, last=10**6)) == everything
    assert list(read_log(resources, last=0)) == []


def test_a_log_of_many_pages_is_read_and_verified_page_by_page(resources, signing, monkeypatch):
    """No transaction stays open: a reader would keep destroyed keys in SQLite's write-ahead log."""
    monkeypatch.setattr("app.actions.read_log.PAGE", 3)
    monkeypatch.setattr("app.crypto.log_check.PAGE", 3)
    append(resources, 25)
    sign_checkpoint(resources, signing)
    seen = []
    verdict = verify_log(resources, signing, progress=lambda done, _size: seen.append(done))
    assert verdict.problem is None
    assert seen == [verdict.entries]
    for entry in read_log(resources):
        assert resources.database.forget_deleted(), entry.sequence


def test_the_log_holds_no_name_and_no_secret(resources, signing, time):
    """Lesson 36 (CNIL 2021-122), lesson 34: after a whole life, looked through word by word."""
    caller = a_caller(resources, name="CANARY-person")
    sent = send(resources, caller, label="CANARY-label", content=b"CANARY-content")
    claimed = run(claim(resources, sent.share))
    run(fetch(resources, claimed))
    time.pass_until(sent.transfer.expires_at)
    run(sweeping.sweep(resources))
    text = json.dumps(log_of(resources))
    assert "transfer.deleted" in text
    for secret in ("CANARY", "sultats", "csv", "Durand", sent.share.password):
        assert secret not in text


def test_refused_links_are_counted_and_not_logged_one_by_one(resources):
    """docs/audit-log.md: a flood of guesses fills no log."""
    assert log_refused_links(resources) == 0
    for _ in range(1000):
        resources.refused_links.add()
    assert (log_refused_links(resources), log_refused_links(resources)) == (1000, 0)
    (entry,) = log_of(resources, event="links.refused")
    assert entry["count"] == 1000
