"""A vault that is an older copy of itself, or has lost its mark, is refused (docs/deletion.md; lesson 40)."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import delete, update

from app.actions.accept_restore import accept_restore
from app.actions.accept_vault import accept_older_vault
from app.actions.check_readiness import check_readiness
from app.actions.examine import examine
from app.actions.keep_time import keep_time, keep_time_or_alert
from app.actions.measure import measure
from app.actions.report_retention import report_retention
from app.db import service_rows
from app.db.tables import claims, shares
from app.domain.errors import ShareWithdrawn, VaultNotTrusted
from app.domain.finding import Level
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.lifecycle.rollback import VaultRolledBack
from app.storage.key_vault import Mark
from tests.integration.actions.stories import (
    CONTENT,
    a_transfer,
    claim,
    fetch,
    log_of,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def tick(resources, time):
    """A sweep as the scheduler does it, some time after the last one: the signer's folder remembers each minute."""

    def sweep_later() -> bool:
        time.pass_by(61)
        assured = keep_time_or_alert(resources)
        sweep(resources)
        return assured

    return sweep_later


def set_back(resources, share) -> None:
    """As if nobody had claimed the share."""
    with resources.database.writing() as transaction:
        transaction.connection.execute(delete(claims).where(claims.c.share_id == share.id))
        issued = update(shares).where(shares.c.id == share.id).values(state=ShareState.ISSUED, used_at=None)
        transaction.connection.execute(issued)


@pytest.fixture
def rolled_back(resources, caller, tick):
    """A copy of the vault is put back: a share was claimed since, and a transfer deposited."""
    before, claimed_since = send(resources, caller), send(resources, caller)
    tick()
    vault = resources.settings.vault_dir
    shutil.copytree(vault, vault.with_name("copy"))
    claimed = run(claim(resources, claimed_since.share))
    since = send(resources, caller)
    tick()
    shutil.rmtree(vault)
    vault.with_name("copy").rename(vault)
    return before, claimed_since, since, claimed


def test_an_older_vault_is_red_and_refuses_both_ways(resources, caller, rolled_back, tick):
    before, *_ = rolled_back
    assert not tick()
    for refused in (lambda: a_transfer(resources, caller), lambda: run(claim(resources, before.share))):
        with pytest.raises(VaultNotTrusted):
            refused()
    assert check_readiness(resources) == ["vault_rolled_back"]
    assert not measure(resources).vault_trusted
    seen = report_retention(resources, orphans=0)
    assert (seen.exit_code, "accept-vault" in (seen.vault.problem or "")) == (2, True)
    assert {f.level for f in examine(resources) if f.check == "high-water mark"} == {Level.WRONG}


def test_an_older_vault_stays_refused_until_an_operator_accepts_it(resources, caller, rolled_back, tick):
    """Sweeps must not write a new mark over the old one, or the next would find nothing wrong."""
    for _ in range(3):
        assert not tick()
    before, claimed_since, since, _ = rolled_back
    ended = accept_older_vault(resources)
    assert ended == 2
    assert transfer_row(resources, since.id).state == TransferState.DENIED
    assert share_row(resources, claimed_since.share.id).state == ShareState.WITHDRAWN
    assert [entry["count"] for entry in log_of(resources, event="vault.accepted")] == [2]
    assert tick()
    assert check_readiness(resources) == []
    assert run(fetch(resources, run(claim(resources, before.share)))) == CONTENT


def test_removing_the_problem_from_the_database_changes_nothing(resources, rolled_back, tick):
    tick()
    with resources.database.writing() as transaction:
        service_rows.forget_vault_problem(transaction.connection)
    tick()
    assert check_readiness(resources) == ["vault_rolled_back"]


def test_a_vault_without_its_mark_is_no_fresh_one_to_any_process(resources, caller, time, start_service, tick):
    tick()
    (resources.settings.vault_dir / Mark.HIGH_WATER).unlink()
    late = start_service()
    with pytest.raises(VaultNotTrusted):
        a_transfer(late, caller)
    with pytest.raises(VaultRolledBack, match="accept-vault"):
        keep_time(resources)
    assert not (resources.settings.vault_dir / Mark.HIGH_WATER).exists()


def test_accepting_it_withdraws_what_was_claimed_by_the_log_alone(resources, rolled_back, tick):
    """Rows set back hide the claim from a look at the rows; the older vault has no record of it."""
    _, claimed_since, _, _ = rolled_back
    set_back(resources, claimed_since.share)
    assert not tick()
    assert accept_older_vault(resources) == 2
    assert share_row(resources, claimed_since.share.id).state == ShareState.WITHDRAWN
    with pytest.raises(ShareWithdrawn):
        run(claim(resources, claimed_since.share))


def test_accepting_it_withdraws_no_share_that_is_recorded_or_was_never_claimed(resources, caller, tick):
    recorded, waiting = send(resources, caller), send(resources, caller)
    claimed = run(claim(resources, recorded.share))
    tick()
    (resources.settings.vault_dir / Mark.HIGH_WATER).unlink()
    assert not tick()
    assert accept_older_vault(resources) == 0
    assert run(fetch(resources, claimed)) == CONTENT
    assert run(fetch(resources, run(claim(resources, waiting.share)))) == CONTENT


def test_database_and_vault_put_back_together_are_known_by_the_last_sweep(resources, caller, time, tick, tmp_path):
    """One second after the claim, not a minute: else both could be put back, and the share redeemed again."""
    sent = send(resources, caller)
    tick()
    vault, copy = resources.settings.vault_dir, tmp_path / "copy"
    shutil.copytree(vault, copy)
    database = tmp_path / "db" / "caducee.sqlite"
    with closing(sqlite3.connect(database)) as now, closing(sqlite3.connect(tmp_path / "kept")) as kept:
        now.backup(kept)
    run(claim(resources, sent.share))
    time.pass_by(1)
    assert keep_time_or_alert(resources)
    with closing(sqlite3.connect(database)) as now, closing(sqlite3.connect(tmp_path / "kept")) as kept:
        kept.backup(now)
    shutil.rmtree(vault)
    copy.rename(vault)
    time.pass_by(1)
    assert not keep_time_or_alert(resources)
    assert check_readiness(resources) == ["vault_rolled_back"]
    with pytest.raises(VaultNotTrusted):
        run(claim(resources, sent.share))


def test_the_signers_folder_is_written_when_the_log_has_grown_and_each_minute(resources, caller, signing, time):
    """An idle service costs its disk one write a minute."""
    keep_time(resources)
    remembered = signing.vault_mark()
    time.pass_by(1)
    keep_time(resources)
    assert signing.vault_mark() == remembered
    send(resources, caller)
    keep_time(resources)
    grown = signing.vault_mark()
    assert grown != remembered
    time.pass_by(61)
    keep_time(resources)
    assert signing.vault_mark() != grown


def test_deletion_continues_under_a_rolled_back_vault(resources, caller, time, rolled_back, tick):
    before, *_ = rolled_back
    time.pass_until(before.transfer.expires_at)
    assert not tick()
    assert transfer_row(resources, before.id).state == TransferState.VERIFIED


def test_a_restored_database_that_was_accepted_makes_no_older_vault(resources, caller, signing, tick):
    """Its log is shorter than the signer's folder remembers, and rightly."""
    tick()
    remembered = signing.vault_mark()
    assert remembered is not None
    accept_restore(resources, signing)
    assert tick()
    assert signing.vault_mark() != remembered


def test_a_fresh_installation_has_its_mark_before_the_first_sweep(unswept_resources):
    assert "vault_rolled_back" not in check_readiness(unswept_resources)
    assert unswept_resources.vault.read_mark() is not None
