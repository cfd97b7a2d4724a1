"""Claiming: once, with the link and the password, and every reason why not."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event as sql_events

from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.look_at_share import look_at_share
from app.actions.withdraw_share import withdraw_share
from app.crypto.errors import CannotDecrypt
from app.crypto.password import new_password
from app.crypto.token import digest, new_id, new_secret
from app.db import share_rows
from app.db.errors import DatabaseUnavailable
from app.db.tables import claims, files, shares, transfers
from app.domain.errors import (
    Busy,
    ClockNotTrusted,
    ShareExpired,
    ShareLocked,
    ShareNotFound,
    ShareUsed,
    ShareWithdrawn,
    VaultOutOfReach,
    WrongPassword,
)
from app.domain.share import ShareState
from app.domain.vault_entry import EntryName
from app.lifecycle.claimable_share import LinkAndPassword
from app.runtime.hashing_queue import HashingQueue
from tests.integration.actions.claim_stories import (
    assert_nothing_redeemed,
    by_proof,
    by_secret,
    own_key,
    refusal_of,
)
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    NAME,
    WRONG_PASSWORD,
    change,
    claim,
    claim_row,
    count_rows,
    events_of,
    everything_stored,
    fetch,
    files_of,
    key_path,
    log_of,
    out_of_reach,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)

# The right link and password


def test_a_claim_opens_the_files(resources, share, time):
    claimed = run(claim(resources, share))
    assert (claimed.transfer_id, claimed.expires_at) == (share.transfer_id, share.expires_at)
    assert (claimed.server_part, claimed.wrapped_key) == (None, None)
    (file,) = claimed.files
    assert file.meta is not None
    assert (file.number, file.size, file.meta.name, file.meta.media_type) == (0, len(CONTENT), NAME, "text/csv")
    assert run(fetch(resources, claimed)) == CONTENT
    row, stored = share_row(resources, share.id), claim_row(resources, share.id)
    assert (row.state, row.used_at, row.attempts, row.failures) == (ShareState.CLAIMED, time(), 0, 0)
    assert (stored.id, stored.claimed_at, stored.by_proof) == (claimed.claim_id, time(), False)
    assert stored.window_until == time() + timedelta(minutes=60)
    assert transfer_row(resources, share.transfer_id).due_at == stored.window_until
    (entry,) = log_of(resources, event="share.claimed")
    assert (entry["share"], entry["claim"], entry["address"]) == (share.id, claimed.claim_id, ADDRESS)


def test_its_token_is_stored_nowhere(resources, share):
    claimed = run(claim(resources, share))
    assert claimed.token not in everything_stored(resources)
    assert "Claimed object" in repr(claimed)


def test_the_window_never_passes_the_expiry(resources, caller):
    sent = send(resources, caller, lifetime=timedelta(minutes=10))
    run(claim(resources, sent.share))
    assert claim_row(resources, sent.share.id).window_until == sent.transfer.expires_at


@pytest.mark.parametrize(
    "typed", [str.lower, lambda password: password.replace("-", " "), lambda password: f" {password} "]
)
def test_a_password_may_be_typed_in_any_way(resources, share, typed):
    assert run(claim(resources, share, password=typed(share.password))).transfer_id == share.transfer_id


def test_a_share_keeps_the_hashing_it_was_issued_with(start_service, share):
    """Raising the cost later locks nobody out."""
    costlier = start_service(argon2_time=2, argon2_memory_kib=128)
    assert run(claim(costlier, share)).transfer_id == share.transfer_id


# Once


def test_a_second_claim_gets_nothing(resources, share):
    """Lesson 13."""
    run(claim(resources, share))
    before = share_row(resources, share.id)
    assert isinstance(refusal_of(resources, share), ShareUsed)
    assert isinstance(refusal_of(resources, share, password=WRONG_PASSWORD), ShareUsed)
    assert share_row(resources, share.id) == before


def test_a_lost_answer_is_not_lost_to_its_recipient(resources, share, time):
    """Lesson 15: the same claim with the same token gets the same answer, and opens the same files."""
    token = new_secret()
    first = run(claim(resources, share, token=token))
    time.pass_by(timedelta(minutes=59))
    again = run(claim(resources, share, token=token))
    assert (again.claim_id, again.token) == (first.claim_id, token)
    assert run(fetch(resources, again)) == CONTENT
    assert count_rows(resources, claims) == 1
    assert share_row(resources, share.id).attempts == 0
    assert events_of(resources, event="share.claimed") == ["share.claimed"]


def test_another_token_is_somebody_else(resources, share):
    run(claim(resources, share, token=new_secret()))
    assert isinstance(refusal_of(resources, share, token=new_secret()), ShareUsed)
    assert isinstance(refusal_of(resources, share), ShareUsed)


def test_a_token_that_the_service_chose_can_be_repeated_too(resources, share):
    first = run(claim(resources, share))
    assert run(claim(resources, share, token=first.token)).claim_id == first.claim_id


def test_repeating_hashes_nothing_and_writes_nothing(resources, share, monkeypatch):
    """Its winner could otherwise keep all others waiting, at no cost to itself."""
    token = new_secret()
    first = run(claim(resources, share, token=token))
    with monkeypatch.context() as patch:
        patch.setattr(HashingQueue, "stretch", None)
        patch.setattr(type(resources.database), "writing", None)
        again = run(claim(resources, share, token=token))
    assert (again.claim_id, again.files, again.server_part) == (first.claim_id, first.files, None)


def test_another_process_hashes_a_repeated_claim_once(resources, start_service, share, monkeypatch):
    """It remembers only what it has checked itself."""
    token = new_secret()
    run(claim(resources, share, token=token))
    other, hashed, stretch = start_service(), [], HashingQueue.stretch

    async def counted(*given):
        hashed.append(given)
        return await stretch(*given)

    monkeypatch.setattr(HashingQueue, "stretch", counted)
    for _ in range(3):
        assert run(claim(other, share, token=token)).token == token
    assert len(hashed) == 1


def test_a_token_that_only_the_row_knows_is_not_enough_to_repeat(resources, share):
    """Whoever writes to the database, and no more: the vault has another token's record."""
    run(claim(resources, share))
    forged = new_secret()
    change(resources, claims, claim_row(resources, share.id).id, token_digest=digest(forged))
    assert isinstance(refusal_of(resources, share, token=forged), ShareUsed)


@pytest.mark.parametrize("present", [by_secret, by_proof])
def test_repeating_needs_the_password_too(resources, share, present):
    """Whether it is hashed again or not."""
    token = new_secret()
    run(claim_share(resources, share.id, present(share, token=token)))
    with pytest.raises(WrongPassword):
        run(claim_share(resources, share.id, present(share, token=token, password=WRONG_PASSWORD)))
    assert run(claim_share(resources, share.id, present(share, token=token))).token == token


def test_whoever_repeats_waits_while_all_attempts_are_being_judged(resources, share, time):
    """`share_used` would have the recipient's page forget a claim that is its own."""
    presented = by_proof(share, token=new_secret())
    first = run(claim_share(resources, share.id, presented))
    change(resources, shares, share.id, attempts=5, failures=2, attempted_at=time())
    with pytest.raises(Busy):
        run(claim_share(resources, share.id, presented))
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, by_proof(share, token=new_secret())))
    change(resources, shares, share.id, attempts=0)
    assert run(claim_share(resources, share.id, presented)).claim_id == first.claim_id


def test_wrong_passwords_of_whoever_repeats_never_lock_what_was_claimed(resources, share):
    token = new_secret()
    run(claim(resources, share, token=token))
    for _ in range(5):
        refusal_of(resources, share, token=token, password=WRONG_PASSWORD)
    assert isinstance(refusal_of(resources, share, token=token, password=new_password()), ShareUsed)  # used up
    assert share_row(resources, share.id).state == ShareState.CLAIMED


def test_a_claim_cannot_be_repeated_after_its_window(resources, share, time):
    token = new_secret()
    run(claim(resources, share, token=token))
    time.pass_by(timedelta(minutes=60))
    assert isinstance(refusal_of(resources, share, token=token), ShareUsed)


def test_a_claim_cannot_be_repeated_in_another_way(resources, share):
    """By proof it would hand out the key a second time."""
    token = new_secret()
    run(claim(resources, share, token=token))
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, by_proof(share, token=token)))


def test_a_token_does_not_open_another_share(resources, caller, share):
    token = new_secret()
    run(claim(resources, share, token=token))
    other = send(resources, caller).share
    claimed = run(claim(resources, other, token=token))
    assert claimed.claim_id != claim_row(resources, share.id).id


# Ends


def test_an_ended_share_says_why(resources, caller, time):
    ends = {}
    for end in ("withdrawn", "deleted", "completed", "locked"):
        ends[end] = send(resources, caller).share
    withdraw_share(resources, ends["withdrawn"].id, caller=caller)
    delete_transfer(resources, ends["deleted"].transfer_id, caller=caller)
    claimed = run(claim(resources, ends["completed"]))
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    for _ in range(5):
        refusal_of(resources, ends["locked"], password=WRONG_PASSWORD)
    refusals = {end: type(refusal_of(resources, share)) for end, share in ends.items()}
    assert refusals == {
        "withdrawn": ShareWithdrawn,
        "deleted": ShareWithdrawn,
        "completed": ShareUsed,
        "locked": ShareLocked,
    }


@pytest.mark.parametrize("swept", [False, True])
def test_an_expired_share_is_refused_whether_or_not_a_sweep_has_passed(resources, share, time, swept):
    """Lesson 1."""
    time.pass_until(share.expires_at - timedelta.resolution)
    run(claim_share(resources, share.id, by_proof(share)))
    time.pass_until(share.expires_at)
    if swept:
        sweep(resources)
    assert isinstance(refusal_of(resources, share), ShareExpired)


def test_a_clock_set_back_brings_nothing_back(resources, start_service, share, time):
    """Lesson 12: clock set back an hour after expiry, still gone; after a restart too."""
    time.pass_until(share.expires_at)
    sweep(resources)
    time.pass_by(timedelta(hours=-1))
    for service in (resources, start_service()):
        assert isinstance(refusal_of(service, share), ClockNotTrusted)
        assert service.clock.now() >= share.expires_at
    time.leap(timedelta(minutes=57))
    assert isinstance(refusal_of(resources, share), ShareExpired)


def test_an_expiry_edited_in_the_database_extends_nothing(resources, share, time):
    """G1, G2: the vault refuses by itself."""
    much_later = share.expires_at + timedelta(days=365)
    time.pass_until(share.expires_at)
    change(resources, shares, share.id, expires_at=much_later)
    change(resources, transfers, share.transfer_id, expires_at=much_later)
    assert isinstance(refusal_of(resources, share), ShareExpired)
    assert count_rows(resources, claims) == 0


def test_a_key_renamed_in_the_vault_extends_nothing(resources, share, time):
    """G1: the expiry is bound into the entry."""
    much_later = share.expires_at + timedelta(days=365)
    old = [EntryName(share.transfer_id, share.expires_at), own_key(share)]
    new = [EntryName(share.transfer_id, much_later), EntryName(share.transfer_id, much_later, share.id)]
    for before, after in zip(old, new, strict=True):
        key_path(resources, after).parent.mkdir(exist_ok=True)
        key_path(resources, before).rename(key_path(resources, after))
        (key_path(resources, after).parent / "hour.key").write_bytes(
            (key_path(resources, before).parent / "hour.key").read_bytes()
        )
    time.pass_until(share.expires_at)
    change(resources, shares, share.id, expires_at=much_later)
    change(resources, transfers, share.transfer_id, expires_at=much_later)
    assert isinstance(refusal_of(resources, share), VaultOutOfReach)  # "was altered"


# The link


def test_without_the_right_link_nothing_is_learnt_and_nothing_spent(resources, share):
    """Lesson 19: a wrong link never burns a share; lesson 13's neighbour: unknown and wrong are one answer."""
    wrong = replace(share, link_secret=new_secret())
    refusals = [refusal_of(resources, wrong) for _ in range(20)]
    refusals.append(refusal_of(resources, replace(share, id=new_id())))
    refusals.append(refusal_of(resources, replace(share, id="\0" * 22)))
    assert {(type(each), each.detail, tuple(each.members)) for each in refusals} == {
        (ShareNotFound, ShareNotFound.title, ())
    }
    assert_nothing_redeemed(resources, share)


def test_a_wrong_link_costs_what_an_unknown_share_costs(resources, share):
    """Or the time that a refusal takes would tell which shares there are."""
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        asked.append(statement)

    def statements(act) -> list[str]:
        asked.clear()
        with pytest.raises(ShareNotFound):
            act()
        return list(asked)

    wrong = LinkAndPassword.by_secret(new_secret(), share.password, None, ADDRESS)
    sql_events.listen(resources.database.engine, "after_cursor_execute", note)
    known, unknown = (statements(lambda of=of: run(claim_share(resources, of, wrong))) for of in (share.id, new_id()))
    assert known == unknown != []
    known, unknown = (statements(lambda of=of: look_at_share(resources, of, bytes(32))) for of in (share.id, new_id()))
    assert known == unknown != []


def test_the_link_comes_before_anything_that_costs(resources, share, monkeypatch):
    """No Argon2 and no database write for whoever does not hold the link."""

    def never(*_given):
        raise AssertionError("hashed, or written")

    monkeypatch.setattr(HashingQueue, "stretch", never)
    monkeypatch.setattr(type(resources.database), "writing", never)
    wrong = replace(share, link_secret=new_secret(), password="not a password")
    assert isinstance(refusal_of(resources, wrong), ShareNotFound)


# When something fails


def test_without_the_key_vault_nothing_is_redeemed(resources, share):
    """Lesson 17."""
    with out_of_reach(resources.settings.vault_dir):
        assert isinstance(refusal_of(resources, share), VaultOutOfReach)
    assert_nothing_redeemed(resources, share)


def test_a_database_that_fails_at_the_last_step_redeems_nothing(resources, share, monkeypatch):
    """Lesson 17."""

    def fail(*_given):
        raise DatabaseUnavailable("gone")

    for step in ("claim", "return_attempt"):
        with monkeypatch.context() as patch:
            real = getattr(share_rows, step)
            calls: list[int] = []

            def once(*given, real=real, calls=calls):
                calls.append(1)
                return fail() if len(calls) == 1 else real(*given)

            patch.setattr(share_rows, step, once)
            with pytest.raises(DatabaseUnavailable):
                run(claim(resources, share))
    assert_nothing_redeemed(resources, share)


def test_an_altered_name_redeems_nothing(resources, share):
    """Nobody would ever get the token of a claim that was won before."""
    (file,) = files_of(resources, share.transfer_id)
    change(resources, files, share.transfer_id, sealed_meta=bytes(len(file.sealed_meta or b"")))
    with pytest.raises(CannotDecrypt):
        run(claim(resources, share))
    change(resources, files, share.transfer_id, sealed_meta=file.sealed_meta)
    assert_nothing_redeemed(resources, share)


def test_a_recipient_who_goes_away_while_hashing_runs_redeems_nothing(resources, share, monkeypatch, time):
    """The attempt stays spent until the minute is over: nobody can tell it from a guess that was cut off."""
    hashing = asyncio.Event()

    async def stall(*_given):
        hashing.set()
        await asyncio.sleep(60)

    async def story():
        asking = asyncio.create_task(claim(resources, share))
        await hashing.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with monkeypatch.context() as patch:
        patch.setattr(HashingQueue, "stretch", stall)
        run(story())
    row = share_row(resources, share.id)
    assert (row.state, row.failures) == (ShareState.ISSUED, 0)
    assert run(claim(resources, share)).transfer_id == share.transfer_id
