"""An installation whose vault is on PostgreSQL: from deposit to receipt, and what the vault itself knows of a life."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from app.actions.check_readiness import check_readiness
from app.actions.complete_claim import complete_claim
from app.actions.examine import examine
from app.actions.expire_keys import expire_keys
from app.actions.keep_time import keep_time_or_alert
from app.db.tables import claims, shares
from app.domain.errors import ShareUsed, VaultNotTrusted, VaultOutOfReach
from app.domain.finding import Level
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.runtime.clock import Clock
from app.runtime.resources import THREADS_VAULT_POSTGRESQL
from app.storage.errors import VaultUnavailable
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    a_caller,
    claim,
    fetch,
    keys_held,
    run,
    send,
    sweep,
    transfer_row,
)

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("database_kind", ["sqlite"])]

DATABASE = "caducee_vault"


@pytest.fixture
def resources(start_service, vault_server):
    opened = start_service(vault=vault_server.url)
    assert keep_time_or_alert(opened)
    sweep(opened)
    return opened


@pytest.fixture
def sent(resources):
    return send(resources, a_caller(resources))


def test_a_transfer_lives_and_is_deleted(resources, sent):
    assert resources.threads._max_workers == THREADS_VAULT_POSTGRESQL
    claimed = run(claim(resources, sent.share))
    assert run(fetch(resources, claimed)) == CONTENT
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    assert keys_held(resources) == set()
    sweep(resources)
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    assert [each for each in examine(resources) if each.check.startswith("vault") and each.level != Level.GOOD] == []


def test_single_use_does_not_rest_on_the_database(resources, sent):
    """`DELETE FROM claims; UPDATE shares` lets nobody claim again."""
    run(claim(resources, sent.share))
    with resources.database.writing() as transaction:
        transaction.connection.execute(delete(claims).where(claims.c.share_id == sent.share.id))
        issued = update(shares).where(shares.c.id == sent.share.id).values(state=ShareState.ISSUED, used_at=None)
        transaction.connection.execute(issued)
    with pytest.raises(ShareUsed):
        run(claim(resources, sent.share))


def test_keys_expire_without_database_and_sweeper(resources, sent, vault_server, time):
    run(claim(resources, sent.share))
    time.pass_until(sent.transfer.expires_at + timedelta(hours=1))
    report = expire_keys(vault_server.vault(), Clock(time, time.uptime))
    assert (report.removed, report.hours, report.due_left) == (3, 1, 0)


def test_a_vault_that_is_down_loses_nothing(resources, sent, vault_server):
    claimed = run(claim(resources, sent.share))
    vault_server.control("stop", "-m", "immediate")
    try:
        with pytest.raises(VaultOutOfReach):
            run(fetch(resources, claimed))
        assert check_readiness(resources) != []
    finally:
        vault_server.control("start")
    assert run(fetch(resources, claimed)) == CONTENT


def test_an_older_vault_is_noticed(resources, sent, vault_server, time):
    """The signer's folder remembers the vault's last mark."""
    ((old,),) = vault_server.admin("SELECT content FROM vault.marks WHERE name = 'high-water'", database=DATABASE)
    time.pass_by(61)
    assert keep_time_or_alert(resources)
    sweep(resources)
    with vault_server.connect() as connection:
        connection.execute("UPDATE vault.marks SET content = %s WHERE name = 'high-water'", (old,))
    time.pass_by(61)
    assert not keep_time_or_alert(resources)
    assert check_readiness(resources) == ["vault_rolled_back"]
    with pytest.raises(VaultNotTrusted):
        run(claim(resources, sent.share))


def test_a_service_does_not_start_where_the_vault_keeps_keys(resources, start_service, vault_server):
    vault_server.admin("ALTER ROLE caducee_vault SET log_statement = 'all'")
    try:
        with pytest.raises(VaultUnavailable, match="log_statement is all, must be none"):
            start_service(vault=vault_server.url)
    finally:
        vault_server.admin("ALTER ROLE caducee_vault RESET ALL")
