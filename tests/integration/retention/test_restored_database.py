"""A database restored from a backup knows less than the vault: nothing that was used or ended since comes back.

Lesson 11: restore a backup of database and blobs taken before the expiry, with the right link and password: nothing
(EDPB 2026: backups are the recurring failure of erasure).
"""

import shutil
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from app.actions.accept_restore import accept_restore
from app.actions.authenticate import authenticate_session
from app.actions.complete_claim import complete_claim
from app.actions.keep_time import keep_time
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.prove_consistency import prove_consistency
from app.actions.renew_log import renew_log
from app.actions.report_exposure import report_exposure
from app.actions.report_retention import findings_of, report_retention
from app.actions.revoke_access_token import revoke_access_token
from app.actions.sign_checkpoint import LogRolledBack, sign_checkpoint
from app.actions.sign_in_by_token import sign_in_by_token
from app.actions.verify_log import verify_log
from app.db import service_rows
from app.db.tables import audit_entries, audit_nodes
from app.domain.audit_events import RenewalReason
from app.domain.clock import Uptime
from app.domain.consistency import Outcome
from app.domain.errors import (
    LockedDown,
    Refusal,
    RestoreNotAccepted,
    RetentionNotAssured,
    SessionEnded,
    ShareExpired,
    ShareWithdrawn,
)
from app.domain.finding import Level
from app.domain.period import Period
from app.domain.share import ShareState
from app.lifecycle.rollback import DatabaseRolledBack, LogDamaged, require_not_rolled_back
from app.runtime.clock import Clock
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import Mark
from app.storage.vault_folder import VaultFolder
from app.storage.vault_marks import read_high_water
from scheduler import timetable as timetable_module
from scheduler.timetable import Timetable
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    a_caller,
    a_transfer,
    blobs_held,
    claim,
    fetch,
    issue,
    keys_held,
    log_of,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)
from tests.integration.retention.backups import back_up, restore

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def alter(resources, statement):
    """As somebody with full rights over the database."""
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(statement)


def sweep_as_scheduled(resources, signing):
    keep_time(resources)
    sweep(resources)
    sign_checkpoint(resources, signing)


@pytest.fixture
def used(resources, caller):
    return send(resources, caller)


@pytest.fixture
def waiting(resources, caller):
    return send(resources, caller)


@pytest.fixture
def restored(resources, signing, used, waiting, time, tmp_path, start_service):
    """Two shares, a backup, one of the shares is used, the backup is restored: the service as it is started then."""
    sweep_as_scheduled(resources, signing)
    backup = back_up(resources, tmp_path / "backup.sqlite")
    time.pass_by(HOUR)
    claimed = run(claim(resources, used.share))
    assert run(fetch(resources, claimed)) == CONTENT
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    sweep_as_scheduled(resources, signing)
    resources.close()
    restore(resources, backup)
    return start_service()


def test_a_restored_database_is_not_served(restored, used):
    assert share_row(restored, used.share.id).state == ShareState.ISSUED, "the backup does not know that it was used"
    with pytest.raises(DatabaseRolledBack, match="caducee db accept-restore"):
        require_not_rolled_back(restored)
    found = findings_of(report_retention(restored, orphans=0))
    assert "rollback" in {finding.check for finding in found if finding.level is Level.WRONG}


def test_a_restored_database_is_not_signed(restored, signing):
    with pytest.raises(LogRolledBack):
        sign_checkpoint(restored, signing)


def test_what_was_used_stays_used_even_before_anybody_accepts(restored, used):
    """No database is believed over the vault: the key is gone."""
    with pytest.raises(ShareExpired):
        run(claim(restored, used.share))


def test_an_accepted_database_is_served_without_any_open_share(restored, signing, used, waiting):
    accepted = accept_restore(restored, signing)
    assert accepted.withdrawn == 2
    assert accepted.entries_lost > 0
    require_not_rolled_back(restored)
    lift_lockdown(restored.database, restored.clock)
    for share in (used.share, waiting.share):
        with pytest.raises(ShareWithdrawn):
            run(claim(restored, share))
    sweep_as_scheduled(restored, signing)
    again = send(restored, a_caller(restored))
    assert run(fetch(restored, run(claim(restored, again.share)))) == CONTENT


def test_accepted_it_is_locked_down_until_somebody_looked_at_the_tokens(
    resources, caller, signing, used, tmp_path, start_service
):
    """What an incident's operators did after the backup must not be undone by the restore: the token is valid again."""
    session = sign_in_by_token(resources, caller, address="192.0.2.1", earlier=None)
    backup = back_up(resources, tmp_path / "before.sqlite")
    revoke_access_token(resources.database, resources.clock, caller.token_id)
    lock_down(resources.database, resources.clock)
    sweep_as_scheduled(resources, signing)
    resources.close()
    restore(resources, backup)
    restored = start_service()
    accepted = accept_restore(restored, signing)
    assert caller.token_id in {token.id for token in accepted.tokens}
    with pytest.raises(SessionEnded):
        authenticate_session(restored, session.secret)
    with pytest.raises(LockedDown):
        run(claim(restored, used.share))
    assert len(log_of(restored, event="lockdown.begun")) == 1


def test_the_depositor_can_issue_again_what_nobody_had_used(restored, signing, waiting):
    accept_restore(restored, signing)
    lift_lockdown(restored.database, restored.clock)
    sweep_as_scheduled(restored, signing)
    share = run(issue(restored, waiting.caller, waiting.transfer))
    assert run(fetch(restored, run(claim(restored, share)))) == CONTENT


def test_the_log_goes_on_under_a_new_origin_that_quotes_the_old_one(restored, signing):
    with restored.database.reading() as connection:
        old_origin = service_rows.get(connection).log_origin
    old = signing.last_checkpoint()
    accept_restore(restored, signing)
    (entry,) = log_of(restored, event="database.restored")
    assert (entry["count"], entry["quoted"]) == (2, old)
    checkpoint = sign_checkpoint(restored, signing)
    assert checkpoint is not None
    assert old is not None
    assert old.startswith(f"{old_origin}\n")
    assert not checkpoint.note.startswith(f"{old_origin}\n")
    verdict = verify_log(restored, signing)
    assert verdict.problem is None


def test_a_checkpoint_of_the_lost_part_is_explained_with_one_number_of_lost_entries(restored, signing):
    """The page, `verify` and the command that accepts count alike; the loss never counts as verified."""
    kept = signing.last_checkpoint()
    accepted = accept_restore(restored, signing)
    sign_checkpoint(restored, signing)
    (renewal,) = verify_log(restored, signing).renewals
    assert renewal.lost == accepted.entries_lost > 0
    found = prove_consistency(restored, kept)
    assert (found.outcome, found.verified) == (Outcome.RENEWED, False)
    assert found.explained_by is not None
    assert 0 < found.explained_by.lost <= accepted.entries_lost
    assert verify_log(restored, signing, since=kept).problem is not None


def test_the_log_verifies_over_the_days_that_follow(restored, signing, time):
    accept_restore(restored, signing)
    for _ in range(3):
        time.pass_by(HOUR)
        sweep_as_scheduled(restored, signing)
    assert verify_log(restored, signing).problem is None


def test_what_was_used_is_swept_in_the_end(restored, signing, used, waiting, time):
    accept_restore(restored, signing)
    time.pass_by(7 * DAY)
    sweep_as_scheduled(restored, signing)
    assert keys_held(restored) == set()
    assert blobs_held(restored) == set()


def test_the_time_is_not_set_back_with_the_database(restored, signing, time, monkeypatch, start_service):
    """The host restarts with its clock as old as the backup: the vault remembers better."""
    remembered = read_high_water(restored.vault)
    assert remembered is not None
    time.leap(-HOUR + MINUTE)
    monkeypatch.setattr(time, "uptime", lambda: Uptime("the-next-boot", 3.0))
    restarted = start_service()
    accept_restore(restarted, signing)
    keep_time(restarted)
    mark = read_high_water(restarted.vault)
    assert mark is not None
    assert mark.at >= remembered.at
    assert restarted.clock.now() >= remembered.at


def test_a_log_that_grew_again_to_the_same_length_is_another_log(restored, used):
    """Whoever restores a backup and waits until the log is long enough is found out by its root."""
    remembered = read_high_water(restored.vault)
    assert remembered is not None
    while len(log_of(restored)) <= remembered.log_size:
        a_caller(restored)
    with pytest.raises(DatabaseRolledBack, match="are not those"):
        require_not_rolled_back(restored)


def test_a_backup_of_blobs_and_database_restored_after_the_expiry_yields_nothing(
    resources, signing, caller, time, tmp_path, start_service
):
    sent = send(resources, caller, lifetime=HOUR)
    sweep_as_scheduled(resources, signing)
    backup = back_up(resources, tmp_path / "backup.sqlite")
    shutil.copytree(resources.settings.blobs_dir, tmp_path / "blobs-backup")
    time.pass_by(2 * HOUR)
    sweep_as_scheduled(resources, signing)
    resources.close()
    restore(resources, backup)
    shutil.rmtree(resources.settings.blobs_dir)
    shutil.copytree(tmp_path / "blobs-backup", resources.settings.blobs_dir)
    restarted = start_service()
    time.leap(-2 * HOUR)  # and the clock with it
    with pytest.raises(Refusal) as refused:
        run(claim(restarted, sent.share))
    assert refused.value.code == "clock_not_trusted"
    assert keys_held(restarted) == set()
    time.leap(2 * HOUR)
    with pytest.raises(Refusal) as refused:
        run(claim(restarted, sent.share))
    assert refused.value.code == "share_expired"
    accept_restore(restarted, signing)
    sweep_as_scheduled(restarted, signing)
    assert blobs_held(restarted) == set()


@pytest.mark.parametrize("reason", list(RenewalReason))
def test_a_new_origin_does_not_pass_for_the_acceptance_of_a_restore(restored, signing, used, reason):
    """It would leave open shares open, and the signer would sign the shorter log; the key stays as it is, too."""
    key = (restored.settings.signing_dir / "log.key").read_bytes()
    size = len(log_of(restored))
    with pytest.raises(DatabaseRolledBack, match="caducee db accept-restore"):
        renew_log(restored, signing, reason)
    assert len(log_of(restored)) == size
    assert (restored.settings.signing_dir / "log.key").read_bytes() == key
    accept_restore(restored, signing)
    renew_log(restored, signing, reason)
    sign_checkpoint(restored, signing)


def test_a_log_whose_nodes_are_damaged_is_gone_on_with_as_a_restored_one(resources, signing, used):
    """The way out of damage that the vault sees: whoever altered the log may have altered the shares."""
    sweep_as_scheduled(resources, signing)
    alter(resources, update(audit_nodes).values(hash=bytes(32)))
    with pytest.raises(DatabaseRolledBack):
        renew_log(resources, signing, RenewalReason.LOG_DAMAGED)
    assert accept_restore(resources, signing).withdrawn == 1
    sweep_as_scheduled(resources, signing)
    renew_log(resources, signing, RenewalReason.KEY_LOST)
    assert verify_log(resources, signing).kind is not None, "what was damaged stays named"


def test_a_log_whose_nodes_are_missing_is_gone_on_with_once_they_are_computed_anew(resources, signing, used):
    """The entries are all there: nothing but the nodes above them was lost."""
    sweep_as_scheduled(resources, signing)
    alter(resources, delete(audit_nodes))
    accept_restore(resources, signing)
    sweep_as_scheduled(resources, signing)
    assert verify_log(resources, signing).problem is None


def test_a_new_origin_over_a_shorter_log_tells_that_entries_are_missing(restored, signing, time):
    """With the vault's memory lost as well nothing refuses it; what was signed still says how long the log was."""
    (restored.settings.vault_dir / Mark.HIGH_WATER).unlink()
    renewed = renew_log(restored, signing, RenewalReason.LOG_DAMAGED)
    assert int((renewed.quoted or "").split("\n")[1]) > renewed.sequence
    now = time.moment
    report = report_exposure(restored, Period(now - HOUR, now + HOUR))
    assert not report.complete
    assert [until for _since, until in report.lost] == [now]


# Under a service that runs


@pytest.fixture
def timetable(resources, signing, time, monkeypatch):
    """The scheduler's jobs, called one by one; nothing runs by itself."""
    monkeypatch.setattr(timetable_module, "Clock", lambda: Clock(time, time.uptime))
    jobs = Timetable(resources.settings)
    yield jobs
    if jobs._opened is not None:
        jobs._opened.close()


def test_under_a_running_service_it_stops_counting_sweeps_but_expiry_goes_on(
    resources, caller, time, tmp_path, timetable
):
    """Nothing goes in; what is due is destroyed all the same."""
    sent = send(resources, caller, lifetime=HOUR)
    timetable.sweep()
    backup = back_up(resources, tmp_path / "backup.sqlite")
    a_transfer(resources, caller)
    time.pass_by(MINUTE)
    timetable.sweep()
    restore(resources, backup)
    with pytest.raises(DatabaseRolledBack):
        keep_time(resources)
    for _ in range(4):
        time.pass_by(20 * MINUTE)
        timetable.sweep()
    assert transfer_row(resources, sent.id).state == "verified"
    with pytest.raises(RestoreNotAccepted):
        a_transfer(resources, caller)
    with resources.database.reading() as connection:
        state = service_rows.get(connection)
    assert state.last_sweep_at is not None
    assert state.last_sweep_at < time.moment - HOUR


def test_a_rolled_back_database_makes_no_orphans(resources, signing, caller, tmp_path, timetable):
    """Rows that it does not know are no proof that their keys belong to nothing."""
    timetable.sweep()
    backup = back_up(resources, tmp_path / "backup.sqlite")
    send(resources, caller)
    timetable.sweep()
    newer = back_up(resources, tmp_path / "newer.sqlite")
    restore(resources, backup)
    with pytest.raises(DatabaseRolledBack):
        timetable.reconcile()
    restore(resources, newer)
    assert len(keys_held(resources)) == 2
    timetable.reconcile()


def test_a_vault_that_cannot_keep_the_mark_does_not_hold_up_expiry(resources, caller, time, timetable, monkeypatch):
    """A full or failing volume: the sweep goes on, loudly, and does not count."""
    sent = send(resources, caller, lifetime=HOUR)
    timetable.sweep()

    def full(_vault, _text, _mark=None):
        raise VaultUnavailable("key vault, write the mark: No space left on device")

    monkeypatch.setattr(VaultFolder, "write_mark", full)
    for _ in range(4):
        time.pass_by(20 * MINUTE)
        timetable.sweep()
    assert transfer_row(resources, sent.id).state == "verified"
    with pytest.raises(RetentionNotAssured):
        a_transfer(resources, caller)


# A damaged log


def test_a_missing_node_of_the_log_stops_no_sweep(resources, caller, time, timetable):
    """It is built from the entries below it, and alerts."""
    sent = send(resources, caller, lifetime=HOUR)
    timetable.sweep()
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(delete(audit_nodes))
    time.pass_by(HOUR)
    timetable.sweep()
    assert transfer_row(resources, sent.id).state == "verified"
    with resources.database.reading() as connection:
        assert service_rows.get(connection).last_sweep_at == time.moment


def test_a_log_damaged_beyond_that_is_not_served_and_stops_no_deletion(resources, caller, time, timetable, monkeypatch):
    sent = send(resources, caller, lifetime=HOUR)
    timetable.sweep()
    monkeypatch.setattr(timetable, "sign", lambda: None)  # refuses, which is not what is looked at
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        transaction.connection.execute(delete(audit_nodes))
        transaction.connection.execute(delete(audit_entries).where(audit_entries.c.sequence == 1))
    time.pass_by(HOUR)
    timetable.sweep()
    assert transfer_row(resources, sent.id).state == "verified"
    with resources.database.reading() as connection:
        assert service_rows.get(connection).last_sweep_at == time.moment - HOUR
    with pytest.raises(LogDamaged, match="audit verify"):
        require_not_rolled_back(resources)
