"""The database is restored under a service that runs: the first sweep sees it, and every process refuses after it."""

import asyncio
from dataclasses import replace

import pytest

from app.actions.accept_restore import accept_restore
from app.actions.check_readiness import check_readiness
from app.actions.keep_time import keep_time
from app.domain.errors import RestoreNotAccepted
from app.domain.share import ShareState
from app.lifecycle.rollback import DatabaseRolledBack
from app.main import create_app
from app.storage.vault_marks import read_high_water
from tests.integration.actions.stories import a_transfer, claim, deposit, fetch, issue, run, send, share_row


@pytest.fixture
def receiving(resources, caller):
    return a_transfer(resources, caller)


@pytest.fixture
def claimed(resources, caller):
    return run(claim(resources, send(resources, caller).share))


@pytest.fixture
def web(resources, sent, receiving, claimed, start_service):
    """Another process of the service. The vault remembers entries that the database does not have (any more)."""
    keep_time(resources)
    remembered = read_high_water(resources.vault)
    assert remembered is not None
    resources.vault.write_mark(replace(remembered, log_size=remembered.log_size + 5).to_text())
    with pytest.raises(DatabaseRolledBack):
        keep_time(resources)
    return start_service()


def test_every_way_in_and_out_is_refused(web, caller, sent, receiving, claimed):
    for step in (
        lambda: a_transfer(web, caller),
        lambda: run(deposit(web, caller, receiving)),
        lambda: run(issue(web, caller, sent.transfer)),
        lambda: run(claim(web, sent.share)),
        lambda: run(fetch(web, claimed)),
        lambda: run(fetch(web, claimed, decrypted=False)),
    ):
        with pytest.raises(RestoreNotAccepted):
            step()
    assert share_row(web, sent.share.id).state == ShareState.ISSUED


def test_a_worker_that_starts_now_does_not_serve(web):
    """`serve` replaces a worker that died: the new one checks what the first ones did."""
    application = create_app(settings=web.settings)

    async def start():
        async with application.router.lifespan_context(application):
            raise AssertionError("it serves")

    with pytest.raises(DatabaseRolledBack):
        asyncio.run(start())


def test_readiness_says_so_until_an_operator_accepts(web, signing):
    assert check_readiness(web) == ["database_rolled_back"]
    accept_restore(web, signing)
    assert "database_rolled_back" not in check_readiness(web)
    keep_time(web)
    assert "database_rolled_back" not in check_readiness(web)
