"""What operators and depositors are told: retention, readiness, doctor's findings, lists."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.actions.check_readiness import check_readiness
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.drill_restore import DrillResult, _write_down
from app.actions.examine import examine
from app.actions.issue_access_token import issue_access_token
from app.actions.keep_time import keep_time
from app.actions.list_transfers import list_transfers, show_transfer
from app.actions.lock_down import lock_down
from app.actions.report_retention import SLACK, findings_of, report_retention
from app.actions.sign_checkpoint import sign_checkpoint
from app.crypto.token import new_id
from app.db import service_rows
from app.db.engine import Database
from app.domain.access_token import Role
from app.domain.errors import TransferNotFound
from app.domain.finding import Level
from app.domain.vault_entry import EntryName
from app.runtime.clock import Clock
from app.storage.signing_folder import SigningFolder
from tests.integration.actions.stories import (
    ADDRESS,
    a_caller,
    a_transfer,
    blob_path,
    claim,
    files_of,
    key_path,
    out_of_reach,
    run,
    send,
    sweep,
)
from tests.integration.conftest import START

# Retention


def test_when_everything_due_is_gone_the_answer_is_zero(resources, sent, time):
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    report = report_retention(resources, orphans=0)
    assert report.exit_code == 0
    assert (report.transfers, report.overdue, report.worst_lateness_s, report.failing) == ({"verified": 1}, 0, 0, [])
    assert (report.vault.keys_past_due, report.sweeping, report.vault.problem) == (0, True, None)
    assert (report.at, report.last_sweep_at) == (time(), time())


def test_what_is_on_its_way_is_not_overdue(resources, caller, sent, time):
    delete_transfer(resources, sent.id, caller=caller)
    time.pass_by(SLACK - timedelta.resolution)
    assert report_retention(resources, orphans=0).exit_code == 0


def test_what_was_not_deleted_in_time_is_overdue(resources, caller, sent, time):
    delete_transfer(resources, sent.id, caller=caller)
    time.pass_by(timedelta(seconds=90))
    report = report_retention(resources, orphans=0)
    assert (report.exit_code, report.overdue, report.worst_lateness_s) == (1, 1, 90)


def test_an_expired_transfer_that_no_sweep_took_is_overdue(resources, caller, time):
    """Lesson 1: stop the sweeper."""
    sent = send(resources, caller, lifetime=timedelta(minutes=10))
    time.pass_until(sent.transfer.expires_at + SLACK)
    report = report_retention(resources, orphans=0)
    assert (report.exit_code, report.overdue, report.vault.keys_past_due) == (1, 1, 2)


def test_a_key_past_its_second_is_overdue_whatever_the_database_says(resources, sent, time):
    """G1: the vault is asked itself."""
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    resources.vault.create(EntryName(new_id(), sent.transfer.expires_at), bytes(32))
    time.pass_by(SLACK)
    report = report_retention(resources, orphans=0)
    assert (report.exit_code, report.overdue, report.vault.keys_past_due) == (1, 0, 1)


def test_a_failing_deletion_is_named(resources, caller, sent):
    path = blob_path(resources, files_of(resources, sent.id)[0].blob_id)
    path.unlink()
    path.mkdir()
    (path / "resists").touch()
    delete_transfer(resources, sent.id, caller=caller)
    sweep(resources)
    report = report_retention(resources, orphans=0)
    assert (report.exit_code, report.failing) == (1, [sent.id])


def test_without_sweeps_nothing_can_be_proved(resources, sent, time):
    """Lesson 1: 2 outranks everything."""
    time.pass_by(resources.settings.deadman + timedelta.resolution)
    report = report_retention(resources, orphans=0)
    assert (report.exit_code, report.sweeping, report.overdue) == (2, False, 0)


def test_before_the_first_sweep_nothing_can_be_proved(unswept_resources):
    assert report_retention(unswept_resources, orphans=0).exit_code == 2


def test_without_the_vault_nothing_can_be_proved(resources, sent):
    with out_of_reach(resources.settings.vault_dir):
        report = report_retention(resources, orphans=0)
    assert (report.exit_code, report.vault.keys_past_due) == (2, None)
    assert "vault" in (report.vault.problem or "")


# Readiness


def test_a_service_that_works_is_ready(resources):
    assert check_readiness(resources) == []


def test_every_reason_not_to_be_ready_has_its_code(start_service, resources, time):
    """Lesson 1: `/readyz` is red."""
    assert check_readiness(start_service(min_free_bytes=10**18)) == ["disk_nearly_full"]
    with out_of_reach(resources.settings.vault_dir):
        assert check_readiness(resources) == ["vault_unavailable"]
    with out_of_reach(resources.settings.blobs_dir):
        assert check_readiness(resources) == ["blobs_unavailable"]
    (resources.settings.vault_dir / "installation").unlink()
    (resources.settings.blobs_dir / "installation").write_text("another\n")
    time.pass_by(resources.settings.deadman + timedelta.resolution)
    assert check_readiness(resources) == ["retention_not_assured", "vault_unavailable", "blobs_unavailable"]


def test_without_sweeps_it_is_not_ready(unswept_resources):
    assert check_readiness(unswept_resources) == ["retention_not_assured"]


def test_without_the_database_it_is_not_ready(resources, monkeypatch, tmp_path):
    away = Database(f"sqlite:///{tmp_path}")
    assert check_readiness(replace(resources, database=away)) == ["database_unavailable"]
    away.close()


def test_asking_takes_note_of_a_time_accepted_elsewhere(start_service, resources, time):
    """Lesson 12: a process whose host's clock is behind does not count from there."""
    other = start_service()
    time.pass_by(timedelta(hours=2))
    sweep(other)
    time.pass_by(timedelta(hours=-2))
    behind = Clock(time, time.uptime)
    assert behind.now() == START
    check_readiness(replace(resources, clock=behind))
    assert behind.now() == START + timedelta(hours=2)


# Examination


def findings(resources):
    return {finding.check: finding for finding in examine(resources)}


def test_an_examination_says_what_is_wrong(resources, start_service):
    found = findings(resources)
    assert found["vault folder"].level == found["blobs folder"].level == Level.GOOD
    assert found["sweeper"].level == found["free space"].level == Level.GOOD
    assert found["vault volume"].level == Level.WEAK
    resources.settings.vault_dir.chmod(0o755)
    assert findings(resources)["vault folder"].level == Level.WRONG
    assert findings(start_service(min_free_bytes=10**18))["free space"].level == Level.WRONG


def test_an_examination_says_what_the_retention_report_fails_for(resources):
    def found():
        return [(each.level, each.detail) for each in findings_of(report_retention(resources, orphans=0))]

    assert [level for level, _ in found()] == [Level.GOOD]
    (resources.settings.vault_dir / "stranger").touch()
    assert found() == [(Level.WRONG, "unknown files in the vault: 1")]


def test_a_sweep_that_the_vault_knows_nothing_of_is_not_believed(resources, time):
    """No sweep has run, and somebody writes into the database that one did."""
    time.pass_by(resources.settings.deadman + timedelta(minutes=1))
    assert findings(resources)["sweeper"].level == Level.WRONG
    with resources.database.writing() as transaction:
        service_rows.record_sweep(transaction.connection, resources.clock.now())
    assert findings(resources)["sweeper"].level == Level.WRONG
    keep_time(resources)
    assert findings(resources)["sweeper"].level == Level.GOOD


def test_a_fresh_installation_is_not_wrong_but_one_that_holds_something_without_sweeps_is(unswept_resources, time):
    found = findings(unswept_resources)
    assert found["sweeper"].level == Level.NOTE
    assert Level.WRONG not in {finding.level for finding in found.values()}
    time.pass_by(unswept_resources.settings.deadman + timedelta(minutes=1))
    assert findings(unswept_resources)["sweeper"].level == Level.WEAK
    unswept_resources.vault.create(EntryName(new_id(), time.moment + timedelta(days=1)), b"k" * 32)
    assert findings(unswept_resources)["sweeper"].level == Level.WRONG


def test_every_finding_that_is_not_good_says_what_to_do(unswept_resources, start_service):
    for resources in (unswept_resources, start_service(organisation="A", contact="b", public_url="https://a.example")):
        found = examine(resources)
        assert [finding for finding in found if bool(finding.do) != (finding.level != Level.GOOD)] == []


def test_an_examination_names_what_is_in_use_and_who_is_asked(resources, start_service, database_kind):
    found = findings(resources)
    assert {"sqlite": "SQLite", "postgres": "PostgreSQL"}[database_kind] in found["database"].detail
    assert found["schema"].level == found["lockdown"].level == Level.GOOD
    assert [found[check].level for check in ("organisation", "contact", "public URL")] == [Level.NOTE] * 3
    found = findings(start_service(organisation="A", contact="b", public_url="https://files.example.org"))
    assert [found[check].level for check in ("organisation", "contact", "public URL")] == [Level.GOOD] * 3
    assert found["proxies"].level == Level.NOTE
    lock_down(resources.database, resources.clock)
    assert findings(resources)["lockdown"].level == Level.WEAK


def test_an_examination_follows_the_age_of_tokens(resources, time):
    assert findings(resources)["tokens"].level == Level.NOTE
    issue_access_token(resources, name="ends", role=Role.STAFF, lifetime=timedelta(days=20))
    assert findings(resources)["tokens"].level == Level.GOOD
    time.pass_by(timedelta(days=10))
    assert (findings(resources)["tokens"].level, "ends" in findings(resources)["tokens"].detail) == (Level.WEAK, True)
    time.pass_by(timedelta(days=10))
    assert [f.level for f in examine(resources) if f.check == "tokens"] == [Level.NOTE, Level.WEAK]
    issue_access_token(resources, name="next", role=Role.STAFF, lifetime=timedelta(days=90), owner="token:ends")
    assert [f.level for f in examine(resources) if f.check == "tokens"] == [Level.GOOD], "one of its owner goes on"


def test_an_examination_follows_the_age_of_checkpoint_and_drill(resources, time):
    assert findings(resources)["checkpoint"].level == findings(resources)["restore drill"].level == Level.NOTE
    sign_checkpoint(resources, SigningFolder(resources.settings.signing_dir))
    _write_down(resources, DrillResult(transfers=1, ended=1, shares_ended=0, findings=[]))
    assert findings(resources)["checkpoint"].level == findings(resources)["restore drill"].level == Level.GOOD
    time.pass_by(timedelta(hours=3))
    assert findings(resources)["checkpoint"].level == Level.WEAK
    time.pass_by(timedelta(days=35))
    assert findings(resources)["restore drill"].level == Level.WEAK
    _write_down(resources, DrillResult(transfers=1, ended=1, shares_ended=0, findings=[]))
    _write_down(resources, DrillResult(transfers=1, ended=0, shares_ended=0, findings=[]))
    found = findings(resources)["restore drill"]
    assert (found.level, "did not pass" in found.detail) == (Level.WEAK, True)


@pytest.mark.parametrize("leap", [timedelta(hours=1), timedelta(hours=-1)])
def test_an_examination_sees_for_itself_that_the_hosts_clock_is_wrong(resources, time, leap):
    time.leap(leap)
    assert findings(resources)["clock"].level == Level.WRONG


def test_an_examination_says_that_the_hosts_clock_is_not_believed(resources):
    assert findings(resources)["clock"].level == Level.GOOD
    with resources.database.writing() as transaction:
        problem = "it is 2 h ahead of the boot clock"
        service_rows.keep_problems(transaction.connection, service_rows.Problems("this-boot", problem))
    found = findings(resources)["clock"]
    assert (found.level, "2 h ahead" in found.detail) == (Level.WRONG, True)


def test_an_examination_says_that_the_vaults_mark_is_damaged(resources):
    assert findings(resources)["high-water mark"].level == Level.GOOD
    (resources.settings.vault_dir / "high-water").write_text("{")
    assert findings(resources)["high-water mark"].level == Level.WRONG


# Lists


def test_depositors_see_their_own_transfers_newest_first(resources, caller, time):
    """Lesson 30."""
    mine = []
    for _ in range(3):
        mine.append(send(resources, caller).id)
        time.pass_by(1)
    other = send(resources, a_caller(resources)).id
    assert [whole.transfer.id for whole in list_transfers(resources, caller).transfers] == mine[::-1]
    assert {whole.transfer.id for whole in list_transfers(resources, None).transfers} == {*mine, other}
    assert list_transfers(resources, a_caller(resources)).transfers == []


def test_a_transfer_is_shown_with_its_files_shares_and_claims(resources, caller, sent):
    claimed = run(claim(resources, sent.share))
    whole = show_transfer(resources, caller, sent.id)
    assert whole.transfer.id == sent.id
    assert [file.number for file in whole.files] == [0]
    assert [share.id for share in whole.shares] == [sent.share.id]
    assert [each.id for each in whole.claims] == [claimed.claim_id]
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    sweep(resources)
    assert show_transfer(resources, caller, sent.id).files[0].sealed_meta is None


def test_others_transfers_and_none_at_all_are_one_refusal(resources, caller, sent):
    """Lesson 30."""
    assert show_transfer(resources, None, sent.id).transfer.id == sent.id
    other = a_caller(resources)
    for asks, transfer_id in ((other, sent.id), (caller, new_id()), (caller, "\0"), (None, new_id())):
        with pytest.raises(TransferNotFound):
            show_transfer(resources, asks, transfer_id)
    assert a_transfer(resources, other).id != sent.id
    assert key_path(resources, EntryName(sent.id, sent.transfer.expires_at)).exists()
