"""A share is redeemed once, whatever somebody writes to the database: the vault keeps the record."""

import asyncio
import threading
import time as real_time
from contextlib import ExitStack, suppress
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select, text, update

from app.actions import claim_share as claiming
from app.actions.claim_share import Claimed, claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.fetch_file import open_files
from app.actions.record_open_claims import record_open_claims
from app.crypto.encoding import decode, encode
from app.crypto.token import digest, new_id, new_secret
from app.crypto.wrapping import link_proof
from app.db import share_rows
from app.db.errors import DatabaseUnavailable
from app.db.share_rows import ClaimRow
from app.db.tables import claims, shares
from app.domain.audience import Audience
from app.domain.errors import Busy, ClaimNotFound, Refusal, ShareExpired, ShareUsed, VaultOutOfReach
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.claimable_share import LinkAndPassword
from app.main import create_app
from tests.integration.actions.sealed_stories import claim_sealed, fetch_sealed, send_sealed
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    a_transfer,
    change,
    claim,
    claim_row,
    count_rows,
    deposit,
    fetch,
    issue,
    keys_held,
    log_of,
    out_of_reach,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)


def record_of(share) -> EntryName:
    return EntryName(share.transfer_id, share.expires_at, share.id).of_claim


def rewind(resources, share_id: str) -> None:
    """As if nobody had claimed the share: what one DELETE and one UPDATE, or a restored table, can do."""
    with resources.database.writing() as transaction:
        transaction.connection.execute(delete(claims).where(claims.c.share_id == share_id))
        transaction.connection.execute(
            update(shares).where(shares.c.id == share_id).values(state=ShareState.ISSUED, used_at=None)
        )


def by_proof(share, token: bytes | None = None) -> LinkAndPassword:
    return LinkAndPassword(link_proof(share.link_secret), None, share.password, token, ADDRESS)


# The rows say that nobody has claimed


@pytest.mark.parametrize("own_token", [False, True])
def test_rows_set_back_let_nobody_claim_again(resources, share, own_token):
    run(claim(resources, share))
    rewind(resources, share.id)
    with pytest.raises(ShareUsed):
        run(claim(resources, share, token=new_secret() if own_token else None))
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0), "it cost no attempt and left no row"
    assert count_rows(resources, claims) == 0


def test_rows_set_back_let_nobody_claim_again_by_link_proof(resources, share):
    run(claim_share(resources, share.id, by_proof(share)))
    rewind(resources, share.id)
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, by_proof(share, new_secret())))


def test_rows_set_back_let_nobody_claim_a_sealed_share_again(resources, caller):
    share = send_sealed(resources, caller)
    run(claim_sealed(resources, share))
    rewind(resources, share.id)
    with pytest.raises(ShareUsed):
        run(claim_sealed(resources, share))


def test_rows_set_back_let_nobody_claim_again_by_the_content_route(resources, share):
    application = create_app(Audience.RECIPIENT, settings=resources.settings, resources=resources)
    with TestClient(application, base_url=resources.settings.public_url, raise_server_exceptions=False) as http:
        path, given = f"/api/v1/shares/{share.id}/content", ("link", f"{encode(share.link_secret)}.{share.password}")
        assert http.post(path, auth=given).content == CONTENT
        rewind(resources, share.id)
        answer = http.post(path, auth=given)
    assert (answer.status_code, answer.json()["code"]) == (410, "share_used")
    assert "caducee-claim" not in answer.headers


def test_the_rightful_recipient_may_go_on_with_the_same_token(resources, share):
    token = new_secret()
    run(claim(resources, share, token=token))
    rewind(resources, share.id)
    with pytest.raises(ShareUsed):
        run(claim(resources, share, token=new_secret()))
    assert run(fetch(resources, run(claim(resources, share, token=token)))) == CONTENT


def test_a_share_that_ended_stays_used_though_its_rows_are_set_back(resources, caller):
    """Its record outlives its keys, and goes with the transfer."""
    share = send(resources, caller, keep_until_expiry=True).share
    first = run(claim(resources, share))
    complete_claim(resources, claim_id=first.claim_id, token=first.token, address=ADDRESS)
    assert record_of(share) in keys_held(resources)
    rewind(resources, share.id)
    with pytest.raises(Refusal):
        run(claim(resources, share))
    delete_transfer(resources, share.transfer_id, caller=caller)
    assert keys_held(resources) == set()


# The vault lost the record: then the log says who claimed


@pytest.mark.parametrize("own_token", [False, True])
@pytest.mark.parametrize("way", ["secret", "proof"])
def test_a_lost_record_and_rows_set_back_let_nobody_claim_again(resources, share, own_token, way):
    run(claim(resources, share))
    resources.vault.destroy([record_of(share)])
    rewind(resources, share.id)
    token = new_secret() if own_token else None
    presented = by_proof(share, token)
    if way == "secret":
        presented = LinkAndPassword.by_secret(share.link_secret, share.password, token, ADDRESS)
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, presented))
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)
    assert (count_rows(resources, claims), len(log_of(resources, event="share.claimed"))) == (0, 1)
    assert resources.vault.claim_recorded(record_of(share)) is None


def test_with_a_lost_record_a_claim_given_another_token_is_refused(resources, share):
    run(claim_share(resources, share.id, by_proof(share)))
    resources.vault.destroy([record_of(share)])
    token = new_secret()
    with resources.database.writing() as transaction:
        transaction.connection.execute(update(claims).values(token_digest=digest(token)))
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, by_proof(share, token)))
    assert resources.vault.claim_recorded(record_of(share)) is None


def test_with_a_lost_record_an_invented_claim_is_refused(resources, share):
    run(claim_share(resources, share.id, by_proof(share)))
    resources.vault.destroy([record_of(share)])
    rewind(resources, share.id)
    token = new_secret()
    invent_claim(resources, share, token)
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, by_proof(share, token)))


def test_the_rightful_recipient_has_a_lost_record_made_again(resources, share):
    token = new_secret()
    run(claim(resources, share, token=token))
    resources.vault.destroy([record_of(share)])
    rewind(resources, share.id)
    assert run(fetch(resources, run(claim(resources, share, token=token)))) == CONTENT


def test_the_claim_of_one_recipient_uses_no_other_share(resources, caller):
    transfer = a_transfer(resources, caller)
    run(deposit(resources, caller, transfer))
    one, other = (run(issue(resources, caller, transfer, name)) for name in ("One", "Other"))
    run(claim(resources, one))
    assert run(fetch(resources, run(claim(resources, other)))) == CONTENT


# Two win in the database

CLAIMANTS = 16
LET_EVERYBODY_WIN = {
    True: (
        "CREATE TABLE claims_again AS SELECT * FROM claims",
        "DROP TABLE claims",
        "ALTER TABLE claims_again RENAME TO claims",
        """CREATE TRIGGER forget AFTER UPDATE OF state ON shares WHEN NEW.state = 'claimed'
           BEGIN UPDATE shares SET state = 'issued' WHERE id = NEW.id; END""",
    ),
    False: (
        "ALTER TABLE claims DROP CONSTRAINT uq_claims_share_id",
        """CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF NEW.state = 'claimed' THEN NEW.state := 'issued'; END IF; RETURN NEW; END $$""",
        "CREATE TRIGGER forget BEFORE UPDATE ON shares FOR EACH ROW EXECUTE FUNCTION forget()",
    ),
}
LET_NOBODY_WIN_ANY_MORE = {True: "DROP TRIGGER forget", False: "DROP TRIGGER forget ON shares"}


@pytest.fixture
def sabotaged(resources, share):
    """A database in which every claim wins: it forgets at once that a share was claimed, and takes any number."""
    with resources.database.writing() as transaction:
        for statement in LET_EVERYBODY_WIN[resources.database.is_sqlite]:
            transaction.connection.execute(text(statement))
    return share


def test_of_many_who_win_in_the_database_one_gets_the_file(resources, start_service, sabotaged):
    share, tokens = sabotaged, [new_secret() for _ in range(CLAIMANTS)]
    won: list[Claimed] = []
    refused: list[Refusal] = []
    together = threading.Barrier(4)

    def claim_some(some: list[bytes]) -> None:
        process = start_service()
        together.wait()
        for token in some:
            try:
                won.append(asyncio.run(_until_not_busy(process, share, token)))
            except Refusal as refusal:
                refused.append(refusal)

    threads = [threading.Thread(target=claim_some, args=(tokens[first::4],)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(won), {type(refusal) for refusal in refused}) == (1, {ShareUsed})
    with resources.database.writing() as transaction:
        transaction.connection.execute(text(LET_NOBODY_WIN_ANY_MORE[resources.database.is_sqlite]))
        transaction.connection.execute(update(shares).values(state=ShareState.CLAIMED))
        stored = {row.token_digest: row.id for row in transaction.connection.execute(select(claims))}
    got = [token for token in tokens if digest(token) in stored and _gets(resources, stored[digest(token)], token)]
    assert got == [won[0].token]


@pytest.mark.parametrize("vault_too", [False, True])
def test_of_many_whose_rows_are_set_back_all_the_time_one_wins(resources, start_service, share, vault_too):
    """Even if the vault's record is removed each time as well: then the log knows the first."""
    won: list[bytes] = []
    over = threading.Event()

    def set_back() -> None:
        while not over.is_set():
            with suppress(DatabaseUnavailable):  # PostgreSQL may end the attacker's side of a deadlock
                rewind(resources, share.id)
            if vault_too:
                resources.vault.destroy([record_of(share)])
            over.wait(0.005)

    def claim_again_and_again(process) -> None:
        for token in [new_secret() for _ in range(2)] * 3:
            # Each of these is possible when the attacker resets the rows between two statements of a claim.
            with suppress(ShareUsed, ShareExpired, DatabaseUnavailable):
                asyncio.run(_until_not_busy(process, share, token))
                won.append(token)

    processes = [start_service() for _ in range(4)]
    attacker = threading.Thread(target=set_back)
    claimants = [threading.Thread(target=claim_again_and_again, args=(process,)) for process in processes]
    for thread in (attacker, *claimants):
        thread.start()
    for thread in claimants:
        thread.join()
    over.set()
    attacker.join()
    assert len(set(won)) == 1


async def _until_not_busy(resources, share, token) -> Claimed:
    deadline = real_time.monotonic() + 30
    while True:
        try:
            return await claim(resources, share, token=token)
        except Busy:
            assert real_time.monotonic() < deadline
            await asyncio.sleep(0.01)


def _gets(resources, claim_id: str, token: bytes) -> bool:
    """Whether somebody who claims by rows alone gets a byte, decrypted or as it is stored."""
    for decrypted in (True, False):
        try:
            run(
                open_files(resources, claim_id=claim_id, token=token, numbers=[0], decrypted=decrypted, address=ADDRESS)
            )
        except ClaimNotFound:
            continue
        return True
    return False


def test_a_record_that_another_process_made_first_decides(resources, share, monkeypatch):
    """Between the look at the record and the record itself, somebody else is quicker."""

    def another_first(point: str) -> None:
        if point == "claim.won":
            resources.vault.record_claim(record_of(share), digest(b"another"))

    monkeypatch.setattr(claiming, "reach", another_first)
    token = new_secret()
    with pytest.raises(ShareUsed):
        run(claim(resources, share, token=token))
    assert not _gets(resources, claim_row(resources, share.id).id, token)


# Rows that no claim made


def invent_claim(resources, share, token: bytes) -> str:
    """A claims row for a share that nobody has claimed, as somebody writes who knows the table."""
    row = share_row(resources, share.id)
    invented = ClaimRow(
        id=new_id(),
        share_id=share.id,
        transfer_id=share.transfer_id,
        token_digest=digest(token),
        by_proof=True,
        wrapped_key=None,
        claimed_at=row.issued_at,
        window_until=row.expires_at,
        allowance=1_000_000,
        bytes_served=0,
        delivered_at=None,
    )
    with resources.database.writing() as transaction:
        assert share_rows.claim(transaction.connection, invented, resources.clock.now())
    return invented.id


def test_an_invented_claim_opens_and_completes_nothing(resources, share):
    token = new_secret()
    claim_id = invent_claim(resources, share, token)
    assert not _gets(resources, claim_id, token)
    with pytest.raises(ClaimNotFound):
        complete_claim(resources, claim_id=claim_id, token=token, address=ADDRESS)
    assert share_row(resources, share.id).state == ShareState.CLAIMED
    assert transfer_row(resources, share.transfer_id).state == TransferState.LIVE


def test_an_altered_digest_opens_and_completes_nothing(resources, share):
    claimed, token = run(claim_share(resources, share.id, by_proof(share))), new_secret()
    with resources.database.writing() as transaction:
        transaction.connection.execute(update(claims).values(token_digest=digest(token)))
    assert not _gets(resources, claimed.claim_id, token)
    with pytest.raises(ClaimNotFound):
        complete_claim(resources, claim_id=claimed.claim_id, token=token, address=ADDRESS)
    assert share_row(resources, share.id).state == ShareState.CLAIMED


@pytest.mark.parametrize("path", ["files/0", "blobs/0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_route_asks_for_the_record(resources, share, method, path):
    """The answer is the one for a wrong token."""
    claimed = run(claim(resources, share))
    resources.vault.destroy([record_of(share)])
    application = create_app(Audience.RECIPIENT, settings=resources.settings, resources=resources)
    with TestClient(application, base_url=resources.settings.public_url) as http:
        url = f"/api/v1/claims/{claimed.claim_id}/{path}"
        answer = http.request(method, url, headers={"Authorization": f"Bearer {encode(claimed.token)}"})
        wrong = http.request(method, url, headers={"Authorization": f"Bearer {encode(new_secret())}"})
    assert (answer.status_code, answer.content) == (wrong.status_code, wrong.content) == (404, wrong.content)


# Between the database and the vault


class Died(BaseException):
    """The process is gone."""


def test_a_claim_killed_between_commit_and_record_can_be_repeated(resources, share, monkeypatch):
    def die(point: str) -> None:
        if point == "claim.won":
            raise Died

    token = new_secret()
    with monkeypatch.context() as patch:
        patch.setattr(claiming, "reach", die)
        with pytest.raises(Died):
            run(claim(resources, share, token=token))
    row = claim_row(resources, share.id)
    assert resources.vault.claim_recorded(record_of(share)) is None
    assert not _gets(resources, row.id, token)
    claimed = run(claim(resources, share, token=token))
    assert (claimed.claim_id, run(fetch(resources, claimed))) == (row.id, CONTENT)


@pytest.fixture
def vault_gone_once_won(resources, share, monkeypatch):
    """A claim whose vault goes away right after the commit; it comes back after the answer. Returns the refusal."""

    def claim_with(token: bytes | None) -> VaultOutOfReach:
        with ExitStack() as away, monkeypatch.context() as patch:

            def unmount(point: str) -> None:
                if point == "claim.won":
                    away.enter_context(out_of_reach(resources.settings.vault_dir))

            patch.setattr(claiming, "reach", unmount)
            with pytest.raises(VaultOutOfReach) as caught:
                run(claim(resources, share, token=token))
        return caught.value

    return claim_with


def test_a_vault_that_cannot_record_burns_no_share(resources, share, vault_gone_once_won):
    token = new_secret()
    assert vault_gone_once_won(token).members == {}
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.CLAIMED, 0, 0)
    with pytest.raises(ShareUsed):
        run(claim(resources, share))
    assert run(fetch(resources, run(claim(resources, share, token=token)))) == CONTENT


def test_a_vault_that_cannot_record_returns_the_token_that_the_service_chose(resources, share, vault_gone_once_won):
    """The refusal carries the claim: by itself it opens nothing."""
    members = vault_gone_once_won(None).members
    assert members["claim_id"] == claim_row(resources, share.id).id
    token = decode(str(members["claim_token"]), length=32)
    assert not _gets(resources, str(members["claim_id"]), token)
    assert run(fetch(resources, run(claim(resources, share, token=token)))) == CONTENT


# The record's end


@pytest.mark.parametrize("ended", ["completed", "lapsed"])
def test_a_record_ends_with_its_transfer_though_the_vault_was_away(resources, caller, time, ended):
    """Of a share that ended long before, too: nothing reads "deleted" while it is there."""
    share = send(resources, caller, keep_until_expiry=True).share
    claimed = run(claim(resources, share))
    if ended == "completed":
        complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    else:
        time.pass_by(timedelta(hours=2))
    sweep(resources)
    assert share_row(resources, share.id).state == ended
    assert keys_held(resources) == {EntryName(share.transfer_id, share.expires_at), record_of(share)}
    with out_of_reach(resources.settings.vault_dir):
        delete_transfer(resources, share.transfer_id, caller=caller)
        sweep(resources)
    assert record_of(share) in keys_held(resources)
    assert transfer_row(resources, share.transfer_id).verified_at is None
    time.pass_by(timedelta(minutes=5))
    assert sweep(resources).deleted == 1
    assert keys_held(resources) == set()


# Claims of before the vault recorded any


def test_claims_open_at_the_upgrade_are_recorded_once(resources, caller, share):
    issued, ended = send(resources, caller).share, send(resources, caller, keep_until_expiry=True).share
    old, done = run(claim(resources, share)), run(claim(resources, ended))
    complete_claim(resources, claim_id=done.claim_id, token=done.token, address=ADDRESS)
    resources.vault.destroy([record_of(share), record_of(ended)])
    with pytest.raises(ClaimNotFound):
        run(fetch(resources, old))
    assert (record_open_claims(resources), record_open_claims(resources)) == (1, 0)
    assert {name for name in keys_held(resources) if name.claimed} == {record_of(share)}
    assert run(fetch(resources, old)) == CONTENT
    assert run(fetch(resources, run(claim(resources, issued)))) == CONTENT


def test_a_damaged_row_holds_up_no_other_claim(resources, caller, share):
    damaged, without_claim = send(resources, caller).share, send(resources, caller).share
    for each in (share, damaged, without_claim):
        run(claim(resources, each))
        resources.vault.destroy([record_of(each)])
    change(resources, shares, damaged.id, expires_at=damaged.expires_at + timedelta(microseconds=1))
    with resources.database.writing() as transaction:
        transaction.connection.execute(delete(claims).where(claims.c.share_id == without_claim.id))
    assert record_open_claims(resources) == 1
    assert {name for name in keys_held(resources) if name.claimed} == {record_of(share)}


def test_an_open_claim_whose_keys_are_gone_gets_no_record(resources, share):
    run(claim(resources, share))
    resources.vault.destroy([record_of(share), EntryName(share.transfer_id, share.expires_at, share.id)])
    assert record_open_claims(resources) == 0


def test_a_sealed_claim_open_at_the_upgrade_is_recorded(resources, caller):
    share = send_sealed(resources, caller)
    claimed = run(claim_sealed(resources, share))
    resources.vault.destroy([EntryName(share.transfer.id, share.prepared.expires_at, share.id).of_claim])
    assert record_open_claims(resources) == 1
    assert run(fetch_sealed(resources, share, claimed)) == CONTENT
