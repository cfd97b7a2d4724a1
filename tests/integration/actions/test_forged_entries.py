"""The signer signs no entry that only the scheduler may write and did not (CADUCEE_SEPARATE_USERS).

Here one user is both; that another user cannot write the signer's record is tested with real users in
tests/acceptance/test_separate_users.py.
"""

import os
import stat
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.actions.accept_restore import accept_restore
from app.actions.check_readiness import check_readiness
from app.actions.examine import examine
from app.actions.measure import measure
from app.actions.renew_log import renew_log
from app.actions.report_retention import report_retention
from app.actions.sign_checkpoint import sign_checkpoint
from app.crypto import merkle
from app.crypto.canonical_json import canonical_json
from app.crypto.signed_note import Checkpoint, Verifier
from app.db import audit_size, audit_tree
from app.db.audit_rows import append  # before the fixtures replace it
from app.db.tables import audit_entries, audit_nodes, service_state
from app.domain.audit_events import ONLY_BY_SCHEDULER, Entry, Event, RenewalReason
from app.lifecycle.forged_entries import LogForged, begin_record
from app.storage.errors import SigningUnavailable
from app.storage.own_entries import OwnEntries
from app.storage.signing_folder import SigningFolder
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import a_caller, send, sweep

pytestmark = pytest.mark.usefixtures("umask_of_the_tests")


@pytest.fixture
def umask_of_the_tests():
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def separate(start_service):
    """An installation whose scheduler has begun its record and signed the log."""
    resources = start_service(separate_users=True)
    begin_record(resources)
    sweep(resources)  # deposits need one
    sign_checkpoint(resources, signing_of(resources))
    return resources


def signing_of(resources):
    return SigningFolder(resources.settings.signing_dir)


def forge(resources, event=Event.TRANSFER_DELETED, **fields):
    """Append an entry as the program does, from a process that has no access to the signer's folder."""
    entry = Entry(event=event, at=resources.clock.now(), actor="scheduler", **({"transfer": "L" * 22} | fields))
    with resources.database.writing() as transaction:
        append(transaction.connection, [entry])


def log_something(resources, count=1):
    with resources.database.writing() as transaction:
        now = resources.clock.now()
        transaction.log(*(Entry(event=Event.LINKS_REFUSED, at=now, actor="recipient", count=n) for n in range(count)))


def execute(resources, *statements):
    """As somebody with full rights over the database."""
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        for statement in statements:
            transaction.connection.execute(statement)


def size_of(resources):
    with resources.database.reading() as connection:
        return audit_size.size(connection)


def signed_of(resources):
    """Sign, and return the checkpoint."""
    made = sign_checkpoint(resources, signing_of(resources))
    assert made is not None
    note = Verifier.parse(signing_of(resources).verifier_key()).verify(made.note)
    return Checkpoint.parse(note)


def last_content(resources):
    with resources.database.reading() as connection:
        query = audit_entries.select().order_by(audit_entries.c.sequence.desc()).limit(1)
        return connection.execute(query).one()


# What is signed


def test_what_the_scheduler_deleted_is_signed_with_the_root_of_the_whole_log(separate, time):
    send(separate, a_caller(separate))
    time.pass_by(timedelta(days=8))
    assert sweep(separate).deleted == 1
    made = signed_of(separate)
    with separate.database.reading() as connection:
        size, root = audit_size.size(connection), audit_tree.root(connection, audit_size.size(connection))
    assert (made.size, made.root) == (size, root)
    assert OwnEntries(separate.settings.signing_dir).leaves() == set(), "dropped once signed"


def test_every_size_is_signed_with_its_right_root(separate):
    """The root is computed from the entries; it must be the one that everybody else computes."""
    for count in (1, 2, 3, 5, 8, 13):
        log_something(separate, count)
        made = signed_of(separate)
        with separate.database.reading() as connection:
            assert made.root == audit_tree.root(connection, made.size)


def test_without_the_setting_no_record_is_begun(start_service):
    resources = start_service()
    begin_record(resources)
    assert OwnEntries(resources.settings.signing_dir).beginning() is None
    forge(resources)
    assert sign_checkpoint(resources, signing_of(resources)) is not None


# What is not


@pytest.mark.parametrize("event", sorted(ONLY_BY_SCHEDULER))
def test_an_entry_that_only_the_scheduler_writes_is_not_signed_for_others(separate, event):
    before = signing_of(separate).last_checkpoint()
    forge(separate, Event(event))
    with pytest.raises(LogForged, match=f"entry {size_of(separate) - 1} says {event}"):
        sign_checkpoint(separate, signing_of(separate))
    assert signing_of(separate).last_checkpoint() == before


def test_a_forged_entry_stays_red_until_a_log_without_it_is_signed(separate):
    forge(separate)
    with pytest.raises(LogForged):
        sign_checkpoint(separate, signing_of(separate))
    log_something(separate)
    with pytest.raises(LogForged):
        sign_checkpoint(separate, signing_of(separate))
    assert "log_forged" in check_readiness(separate)
    assert "log_forged" in (report_retention(separate, orphans=0).log_forged or "")
    assert report_retention(separate, orphans=0).exit_code == 2
    assert measure(separate).log_trusted is False


def test_a_forged_leaf_behind_a_harmless_content_is_not_signed(separate):
    """The leaf is what is signed; the content could be exchanged afterwards."""
    log_something(separate)
    row = last_content(separate)
    other = {"event": "transfer.deleted", "salt": "A" * 22, "sequence": row.sequence, "transfer": "L" * 22}
    leaf = merkle.leaf_hash(canonical_json(other))
    execute(separate, update(audit_entries).where(audit_entries.c.sequence == row.sequence).values(leaf_hash=leaf))
    with pytest.raises(LogForged, match="not what its hash says"):
        sign_checkpoint(separate, signing_of(separate))


def test_a_forged_leaf_without_content_is_not_signed(separate):
    """As if it was pruned."""
    log_something(separate)
    row = last_content(separate)
    execute(separate, update(audit_entries).where(audit_entries.c.sequence == row.sequence).values(content=None))
    with pytest.raises(LogForged, match="not what its hash says"):
        sign_checkpoint(separate, signing_of(separate))


@pytest.mark.parametrize(
    "content",
    [
        '{"event":"links.refused","event":"transfer.deleted","transfer":"T"}',
        '{"event":"transfer.deleted", "transfer":"T"}',
        '{"\\u0065vent":"transfer.deleted","transfer":"T"}',
        '{"event":"transfer\\u002edeleted","transfer":"T"}',
        '["transfer.deleted"]',
        "transfer.deleted",
    ],
)
def test_content_that_readers_could_understand_differently_is_not_signed(separate, content):
    log_something(separate)
    row = last_content(separate)
    values = {"content": content, "leaf_hash": merkle.leaf_hash(content.encode())}
    execute(separate, update(audit_entries).where(audit_entries.c.sequence == row.sequence).values(values))
    with pytest.raises(LogForged, match="no entry of the log"):
        sign_checkpoint(separate, signing_of(separate))


def test_the_tree_s_stored_nodes_are_not_believed(separate):
    """A node over an honest leaf, as if it stood over a forged one, must not come under the signature."""
    log_something(separate, 4 - size_of(separate) % 4 + 3)
    made = signed_of(separate)
    log_something(separate, 8)
    with separate.database.reading() as connection:
        right = audit_tree.root(connection, size_of(separate))
    with separate.database.reading() as connection:
        nodes = connection.execute(select(audit_nodes.c.level, audit_nodes.c.position)).all()
    for level, position in nodes:
        if (position + 1) << level > made.size:
            there = (audit_nodes.c.level == level) & (audit_nodes.c.position == position)
            execute(separate, update(audit_nodes).where(there).values(hash=b"\x66" * 32))
    assert signed_of(separate).root == right


def test_an_entry_that_was_signed_before_cannot_be_exchanged(separate):
    log_something(separate, 3)
    sign_checkpoint(separate, signing_of(separate))
    execute(separate, update(audit_entries).where(audit_entries.c.sequence == 1).values(leaf_hash=b"\x66" * 32))
    execute(separate, update(audit_nodes).values(hash=b"\x66" * 32))
    log_something(separate)
    with pytest.raises(Exception, match=r"does not contain|not those that the signer knows"):
        sign_checkpoint(separate, signing_of(separate))


def test_another_origin_does_not_make_the_signer_forget(separate):
    """A row of the database says which origin the log has: whoever changes it gets nothing signed."""
    kept = signing_of(separate).last_checkpoint()
    execute(separate, update(service_state).values(log_origin="caducee.log/another"))
    forge(separate, Event.LOG_RENEWED, transfer=None, outcome="key_lost", quoted=kept)
    with pytest.raises(LogForged, match="another origin"):
        sign_checkpoint(separate, signing_of(separate))


def test_a_process_that_cannot_write_the_record_commits_no_such_entry(separate, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    size = size_of(separate)
    monkeypatch.setattr("app.storage.own_entries.durable_files.write_new", refuse)
    with pytest.raises(SigningUnavailable), separate.database.writing() as transaction:
        transaction.log(Entry(event=Event.CLOCK_DISTRUSTED, at=separate.clock.now(), actor="scheduler"))
    assert size_of(separate) == size


# What an operator accepts


@pytest.mark.parametrize("reason", list(RenewalReason))
def test_an_operator_goes_on_with_the_log_as_it_stands(separate, reason):
    forge(separate)
    renew_log(separate, signing_of(separate), reason)
    assert sign_checkpoint(separate, signing_of(separate)) is not None
    assert check_readiness(separate) == []
    forge(separate)
    with pytest.raises(LogForged):
        sign_checkpoint(separate, signing_of(separate))


def test_an_accepted_restore_begins_the_record_anew(separate):
    accept_restore(separate, signing_of(separate))
    assert sign_checkpoint(separate, signing_of(separate)) is not None
    forge(separate)
    with pytest.raises(LogForged):
        sign_checkpoint(separate, signing_of(separate))


def test_an_older_log_is_believed_up_to_the_day_when_users_were_separated(start_service):
    """What was not signed before has no record, and is as good as it was without separate users."""
    forge(start_service())
    resources = start_service(separate_users=True)
    begin_record(resources)
    begin_record(resources)
    assert sign_checkpoint(resources, signing_of(resources)) is not None
    forge(resources)
    with pytest.raises(LogForged):
        sign_checkpoint(resources, signing_of(resources))


# The folders


def test_the_folders_have_the_modes_that_are_documented(separate):
    """The scheduler's are read by the group, the others written, whatever the umask of this test."""
    data, vault = separate.settings.data_dir, separate.settings.vault_dir
    modes = {
        name: stat.S_IMODE((data / name).stat().st_mode)
        for name in ("keys", "keys/own-entries", "vault", "vault/marks")
    }
    assert set(modes.values()) == {0o2750}, modes
    assert stat.S_IMODE((data / "blobs").stat().st_mode) == 0o2770
    assert stat.S_IMODE((data / "keys" / "log.key").stat().st_mode) == 0o600
    assert {stat.S_IMODE(mark.stat().st_mode) for mark in (vault / "marks").iterdir()} == {0o640}
    os.umask(0o077)
    send(separate, a_caller(separate))
    entries = list(vault.glob("20*/*"))
    assert entries
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries} == {0o660}
    assert {stat.S_IMODE(path.stat().st_mode) for path in vault.glob("20*")} == {0o2770}


def test_marks_of_a_vault_that_had_one_user_are_moved(start_service, tmp_path):
    before = start_service()
    mark = before.vault.read_mark()
    resources = start_service(separate_users=True)
    assert resources.vault.read_mark() == mark
    assert (tmp_path / "vault" / "marks" / "high-water").exists()
    assert not (tmp_path / "vault" / "high-water").exists()
    assert before.vault.read_mark() == mark, "also for a process that was started without the setting"
    assert list(resources.vault.strangers()) == []
    (tmp_path / "vault" / "marks" / "stranger").touch()
    assert list(resources.vault.strangers()) == ["marks/stranger"]


def test_doctor_and_metrics_say_whether_the_users_are_separate(separate, start_service):
    assert measure(separate).separate_users is True
    found = {f.check: f for f in examine(separate)}
    assert found["separate users"].level == "ok", found
    (separate.settings.vault_dir / "marks").chmod(0o770)
    assert {f.check: f for f in examine(separate)}["separate users"].level == "wrong"


def test_doctor_advises_to_separate_the_users(start_service):
    resources = start_service()
    assert measure(resources).separate_users is False
    assert {f.check: f.level for f in examine(resources)}["separate users"] == "warning"
