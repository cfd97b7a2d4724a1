"""Claiming: once, with the link and the password, and every reason why not."""

import asyncio
import hashlib
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event as sql_events

from app.actions.claim_share import Claimed, claim_share
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.look_at_share import look_at_share
from app.actions.withdraw_share import withdraw_share
from app.crypto import chunked, wrapping
from app.crypto.errors import CannotDecrypt
from app.crypto.password import new_password
from app.crypto.token import new_id, new_secret
from app.db import share_rows
from app.db.errors import DatabaseUnavailable
from app.db.tables import claims, files, shares, transfers
from app.domain import share as share_rules
from app.domain.errors import (
    Busy,
    ClaimEnded,
    ClaimNotFound,
    ClockNotTrusted,
    MalformedPassword,
    Refusal,
    ShareExpired,
    ShareLocked,
    ShareNotFound,
    ShareUsed,
    ShareWithdrawn,
    TransferIsSealed,
    VaultOutOfReach,
    WrongPassword,
)
from app.domain.reconciled import Contradiction
from app.domain.share import STALE_ATTEMPT, ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.key_ring import open_for_owner
from app.lifecycle.witnesses import compare_everything
from app.runtime.hashing_queue import HashingQueue
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
    keys_held,
    log_of,
    out_of_reach,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)


@pytest.fixture
def sent(resources, caller):
    return send(resources, caller)


@pytest.fixture
def share(sent):
    return sent.share


def own_key(share) -> EntryName:
    return EntryName(share.transfer_id, share.expires_at, share.id)


def refusal_of(resources, share, **given) -> Refusal:
    with pytest.raises(Refusal) as caught:
        run(claim(resources, share, **given))
    return caught.value


def assert_nothing_redeemed(resources, share):
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures, row.used_at) == (ShareState.ISSUED, 0, 0, None)
    assert count_rows(resources, claims) == 0
    assert run(claim(resources, share)).transfer_id == share.transfer_id


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


def test_repeating_needs_the_password_too(resources, share):
    token = new_secret()
    run(claim(resources, share, token=token))
    assert isinstance(refusal_of(resources, share, token=token, password=WRONG_PASSWORD), WrongPassword)
    assert run(claim(resources, share, token=token)).token == token


def test_whoever_repeats_waits_while_all_attempts_are_being_judged(resources, share, time):
    """`share_used` would have the recipient's page forget a claim that is its own."""
    token = new_secret()
    first = run(claim(resources, share, token=token))
    change(resources, shares, share.id, attempts=5, failures=2, attempted_at=time())
    assert isinstance(refusal_of(resources, share, token=token), Busy)
    assert isinstance(refusal_of(resources, share, token=new_secret()), ShareUsed)
    change(resources, shares, share.id, attempts=0)
    assert run(claim(resources, share, token=token)).claim_id == first.claim_id


def test_wrong_passwords_of_whoever_repeats_never_lock_what_was_claimed(resources, share):
    token = new_secret()
    run(claim(resources, share, token=token))
    for _ in range(5):
        refusal_of(resources, share, token=token, password=WRONG_PASSWORD)
    assert isinstance(refusal_of(resources, share, token=token), ShareUsed)  # guesses are used up
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


# The password


def test_wrong_passwords_count_and_the_fifth_locks_the_share_for_good(resources, sent, share):
    """Lesson 31. Its keys are gone from the vault when the answer goes out."""
    for left in (4, 3, 2, 1, 0):
        assert own_key(share) in keys_held(resources)
        refusal = refusal_of(resources, share, password=new_password())
        assert (type(refusal), refusal.members) == (WrongPassword, {"attempts_left": left})
    assert own_key(share) not in keys_held(resources)
    row = share_row(resources, share.id)
    assert (row.state, row.wrapped_key, row.failures) == (ShareState.LOCKED, None, 5)
    assert isinstance(refusal_of(resources, share), ShareLocked)
    assert [entry["count"] for entry in log_of(resources, event="password.wrong", address=ADDRESS)] == [1, 2, 3, 4, 5]
    assert events_of(resources, share=share.id)[-1] == "share.locked"
    transfer = transfer_row(resources, sent.id)
    assert transfer.state == TransferState.LIVE  # the depositor can issue another
    assert EntryName(sent.id, sent.transfer.expires_at) in keys_held(resources)


def test_attempts_left_are_shown_to_whoever_holds_the_link(resources, share):
    refusal_of(resources, share, password=WRONG_PASSWORD)
    assert look_at_share(resources, share.id, wrapping.link_proof(share.link_secret)).attempts_left == 4


def test_the_right_password_after_wrong_ones_still_opens(resources, share):
    for _ in range(4):
        refusal_of(resources, share, password=WRONG_PASSWORD)
    assert run(fetch(resources, run(claim(resources, share)))) == CONTENT


def test_the_number_of_attempts_is_a_setting(start_service, share):
    strict = start_service(password_attempts=1)
    assert refusal_of(strict, share, password=WRONG_PASSWORD).members == {"attempts_left": 0}
    assert isinstance(refusal_of(strict, share), ShareLocked)


@pytest.mark.parametrize(
    "password",
    ["x", "0000-0000-0000-000", "0000-0000-0000-00000", "UUUU-0000-0000-0000", "\u0660" * 16, "0" * 5000, "\0" * 16],
)
def test_a_malformed_password_costs_nothing(resources, share, password, monkeypatch):
    """docs/problems.md: no attempt spent, no Argon2."""
    monkeypatch.setattr(HashingQueue, "stretch", None)
    for _ in range(6):
        assert isinstance(refusal_of(resources, share, password=password), MalformedPassword)
    monkeypatch.undo()
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)


def test_attempts_are_reserved_before_they_are_judged(resources, share):
    """Lesson 31: a crowd that guesses at once has five guesses all the same."""
    crowd = [replace(resources, claiming=HashingQueue(waiting=20)) for _ in range(10)]

    async def story():
        guesses = [claim(each, share, password=new_password()) for each in crowd for _ in range(3)]
        return await asyncio.gather(*guesses, return_exceptions=True)

    answers = Counter(type(answer) for answer in run(story()))
    assert answers[WrongPassword] == 5
    assert set(answers) <= {WrongPassword, Busy, ShareLocked}
    assert share_row(resources, share.id).state == ShareState.LOCKED


# Attempts under way


def test_when_all_attempts_are_being_judged_the_next_one_waits(resources, share, time):
    change(resources, shares, share.id, attempts=5, failures=2, attempted_at=time())
    assert isinstance(refusal_of(resources, share), Busy)
    time.pass_by(STALE_ATTEMPT - timedelta(seconds=1))
    assert isinstance(refusal_of(resources, share), Busy)
    assert share_row(resources, share.id).state == ShareState.ISSUED
    assert own_key(share) in keys_held(resources)


def test_attempts_whose_process_died_stay_spent(resources, share, time):
    """Or killing workers would buy guesses."""
    change(resources, shares, share.id, attempts=5, failures=2, attempted_at=time())
    time.pass_by(STALE_ATTEMPT)
    assert isinstance(refusal_of(resources, share), ShareLocked)
    assert share_row(resources, share.id).state == ShareState.LOCKED
    assert own_key(share) not in keys_held(resources)
    assert events_of(resources, event="share.locked") == ["share.locked"]


def test_a_full_queue_spends_no_attempt(resources, share):
    small = replace(resources, claiming=HashingQueue(waiting=0))

    async def story():
        async with small.claiming.turn():
            with pytest.raises(Busy):
                await claim(small, share)

    run(story())
    assert_nothing_redeemed(resources, share)


def test_hashing_that_fails_spends_no_attempt(resources, share, monkeypatch):
    async def out_of_memory(*_given):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(HashingQueue, "stretch", out_of_memory)
        assert isinstance(refusal_of(resources, share), Busy)
    assert_nothing_redeemed(resources, share)


@pytest.mark.parametrize(
    "altered",
    [
        {"argon2_time": 400_000},
        {"argon2_memory_kib": 700_000},
        {"argon2_lanes": 17, "argon2_memory_kib": 1024},
        {"argon2_time": 0},
        {"argon2_lanes": -1},
    ],
    ids=lambda altered: "-".join(f"{name[7:]}={value}" for name, value in altered.items()),
)
def test_a_row_that_asks_for_endless_hashing_is_refused_before_it(resources, share, altered, monkeypatch):
    """It would keep all other recipients waiting, or take their memory."""
    change(resources, shares, share.id, **altered)
    with monkeypatch.context() as patch:
        patch.setattr(HashingQueue, "stretch", None)
        assert isinstance(refusal_of(resources, share), Busy)
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)
    compared = compare_everything(resources, verified_too=True)
    assert compared.shown == [Contradiction("hashing", share.transfer_id)]


def test_whoever_configures_more_than_the_ceilings_may(start_service, caller):
    costly = start_service(argon2_time=12, argon2_memory_kib=160, argon2_lanes=20)
    share = send(costly, caller).share
    assert run(fetch(costly, run(claim(costly, share)))) == CONTENT
    assert compare_everything(costly, verified_too=True).shown == []


# Racers


def test_fifty_with_the_right_password_at_once_one_wins_and_nothing_is_locked(resources, share):
    """Lesson 13 (onetimesecret 0.26.0, PasswordPusher #4738, Send PR #238): correct racers never lock a share."""
    patient = replace(resources, claiming=HashingQueue(waiting=64))

    async def story():
        return await asyncio.gather(*(claim(patient, share) for _ in range(50)), return_exceptions=True)

    answers = run(story())
    assert Counter(type(answer) for answer in answers) == {Claimed: 1, ShareUsed: 49}
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.CLAIMED, 0, 0)
    (winner,) = (answer for answer in answers if isinstance(answer, Claimed))
    assert run(fetch(resources, winner)) == CONTENT


def test_racers_in_many_processes_one_wins_and_nothing_is_locked(start_service, resources, share):
    """Lesson 13, over several workers: more at once than there are attempts."""
    services = [start_service() for _ in range(8)]
    answers: list[object] = []
    together = threading.Barrier(len(services))

    def race(service):
        together.wait()

        async def story():
            return await asyncio.gather(*(claim(service, share) for _ in range(3)), return_exceptions=True)

        answers.extend(run(story()))

    racers = [threading.Thread(target=race, args=(service,)) for service in services]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    counted = Counter(type(answer) for answer in answers)
    assert counted[Claimed] == 1
    assert set(counted) <= {Claimed, ShareUsed, Busy}
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.CLAIMED, 0, 0)


@pytest.mark.parametrize("way", ["secret", "proof"])
def test_one_claim_sent_many_times_at_once_gets_one_answer(start_service, resources, share, way):
    """Lesson 15: a recipient that repeats before the first answer came is the winner all the same."""
    services = [start_service() for _ in range(2)]
    presented = (by_proof if way == "proof" else by_secret)(share, token=new_secret())
    together = threading.Barrier(len(services))
    answers: list[object] = []

    async def until_judged(service):
        while True:
            try:
                return await claim_share(service, share.id, presented)
            except Busy:
                await asyncio.sleep(0.01)

    def send_it(service):
        together.wait()

        async def story():
            return await asyncio.gather(*(until_judged(service) for _ in range(4)), return_exceptions=True)

        answers.extend(run(story()))

    senders = [threading.Thread(target=send_it, args=(service,)) for service in services]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert Counter(type(answer) for answer in answers) == {Claimed: 8}
    assert {(answer.claim_id, answer.token) for answer in answers if isinstance(answer, Claimed)} == {
        (claim_row(resources, share.id).id, presented.token)
    }
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.CLAIMED, 0, 0)


@pytest.mark.parametrize("way", ["secret", "proof"])
def test_nobody_is_handed_a_claim_that_another_wins_while_the_share_is_read(resources, share, monkeypatch, way):
    """Lesson 13: PostgreSQL shows each statement another state, so share and claim are read in one snapshot."""
    rival, real = replace(resources, claiming=HashingQueue(waiting=1)), share_rows.claim_of_share
    won: list[Claimed] = []
    reads: list[str] = []

    def another_wins_meanwhile(connection, share_id):
        reads.append(share_id)
        if len(reads) == 2:  # the second look, with the turn to hash already taken
            monkeypatch.setattr(share_rows, "claim_of_share", real)
            racer = threading.Thread(target=lambda: won.append(run(claim(rival, share))))
            racer.start()
            racer.join()
        return real(connection, share_id)

    monkeypatch.setattr(share_rows, "claim_of_share", another_wins_meanwhile)
    presented = by_proof(share, token=new_secret()) if way == "proof" else by_secret(share, token=new_secret())
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, presented))
    assert len(won) == 1
    assert run(fetch(resources, won[0])) == CONTENT


def test_a_claim_beside_a_share_that_nobody_has_claimed_yet_is_handed_to_nobody(resources, caller, share, monkeypatch):
    """The same, should some database show the two as of different moments all the same."""
    other = send(resources, caller).share
    foreign = run(claim(resources, other))
    row = claim_row(resources, other.id)
    with monkeypatch.context() as patch:
        patch.setattr(share_rows, "claim_of_share", lambda _connection, _share_id: row)
        claimed = run(claim(resources, share))
    assert claimed.claim_id != foreign.claim_id
    assert run(fetch(resources, claimed)) == CONTENT


def told(act, problems):
    """Run `act`; a refusal is an answer, anything else a problem."""
    try:
        act()
    except Refusal:
        pass
    except BaseException as error:  # noqa: BLE001 - whatever it is, the test tells it
        problems.append(error)


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize("password", ["right", "wrong"])
def test_whoever_uses_a_share_and_whoever_ends_it_lock_in_the_same_order(start_service, caller, password):
    """Or PostgreSQL ends the one or the other as a deadlock, and somebody reads "the database failed"."""
    claiming, withdrawing = start_service(password_attempts=1), start_service()
    share = send(claiming, caller).share
    holds_share, holds_transfer = threading.Event(), threading.Event()
    problems: list[BaseException] = []

    def used(_connection, _cursor, statement, *_more):
        if statement.startswith(("UPDATE shares SET state", "UPDATE shares SET failures")):
            holds_share.set()
            holds_transfer.wait(0.5)  # in vain, if the transfer was locked before the share

    def locked(_connection, _cursor, statement, *_more):
        if "FOR UPDATE" in statement:
            holds_transfer.set()

    def withdraw():
        assert holds_share.wait(5)
        withdraw_share(withdrawing, share.id, caller=caller)

    sql_events.listen(claiming.database.engine, "after_cursor_execute", used)
    sql_events.listen(withdrawing.database.engine, "after_cursor_execute", locked)
    given = share.password if password == "right" else WRONG_PASSWORD
    acts = [lambda: run(claim(claiming, share, password=given)), withdraw]
    threads = [threading.Thread(target=told, args=(act, problems)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert share_row(claiming, share.id).state in {ShareState.WITHDRAWN, ShareState.LOCKED}


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


# By proof: the recipient's program decrypts


def by_secret(share, *, password=None, token=None):
    return LinkAndPassword.by_secret(share.link_secret, password or share.password, token, ADDRESS)


def by_proof(share, *, password=None, token=None):
    return LinkAndPassword(wrapping.link_proof(share.link_secret), None, password or share.password, token, ADDRESS)


def opened_by_hand(resources, share, claimed) -> tuple[bytes, bytes]:
    """Name and content, with nothing but the link, the answer, the blob and the published formats."""
    share_key = wrapping.share_key(share.link_secret, claimed.server_part, share.id)
    transfer_key = wrapping.unwrap_for_share(
        claimed.wrapped_key, share_key=share_key, transfer_id=claimed.transfer_id, share_id=share.id
    )
    file = claimed.files[0]
    name = chunked.open_sealed(transfer_key, chunked.meta_context(claimed.transfer_id, 0), file.sealed_meta)
    blob = run(fetch(resources, claimed, decrypted=False))
    decryptor = chunked.Decryptor(transfer_key, chunked.file_context(claimed.transfer_id, 0))
    return name, b"".join(bytes(piece) for piece in decryptor.update(blob)) + bytes(decryptor.finish())


def test_a_program_decrypts_by_itself_what_a_claim_by_proof_hands_out(resources, share):
    """G4: the link secret never reaches the server."""
    claimed = run(claim_share(resources, share.id, by_proof(share)))
    assert claimed.files[0].meta is None
    name, content = opened_by_hand(resources, share, claimed)
    assert content == CONTENT
    assert NAME in name.decode()
    stored = claim_row(resources, share.id)
    assert (stored.by_proof, stored.wrapped_key) == (True, None)


def test_a_claim_by_proof_can_be_repeated_with_its_token(resources, share):
    token = new_secret()
    first = run(claim_share(resources, share.id, by_proof(share, token=token)))
    again = run(claim_share(resources, share.id, by_proof(share, token=token)))
    assert (again.claim_id, again.server_part, again.wrapped_key) == (
        first.claim_id,
        first.server_part,
        first.wrapped_key,
    )
    with pytest.raises(ShareUsed):
        run(claim_share(resources, share.id, by_secret(share, token=token)))


def test_a_proof_is_not_enough_without_the_password(resources, share):
    for _ in range(5):
        with pytest.raises(WrongPassword):
            run(claim_share(resources, share.id, by_proof(share, password=WRONG_PASSWORD)))
    with pytest.raises(ShareLocked):
        run(claim_share(resources, share.id, by_proof(share)))


# Sealed transfers


def test_a_sealed_transfer_refuses_a_link_secret_and_redeems_nothing(resources, share):
    """docs/http-api.md: clients must not send the secret unknowingly, and if one does, nothing comes of it."""
    change(resources, transfers, share.transfer_id, sealed=True)
    assert isinstance(refusal_of(resources, share), TransferIsSealed)
    assert isinstance(refusal_of(resources, share, password=WRONG_PASSWORD), TransferIsSealed)
    row = share_row(resources, share.id)
    assert (row.state, row.attempts, row.failures) == (ShareState.ISSUED, 0, 0)
    claimed = run(claim_share(resources, share.id, by_proof(share)))
    assert opened_by_hand(resources, share, claimed)[1] == CONTENT


def test_a_sealed_transfer_says_so_only_to_whoever_holds_the_link(resources, share):
    change(resources, transfers, share.transfer_id, sealed=True)
    assert isinstance(refusal_of(resources, replace(share, link_secret=new_secret())), ShareNotFound)


# G3: patch every check to "yes"


@pytest.fixture
def every_check_says_yes(monkeypatch):
    """Lesson 20 (HCP Anywhere 2021: a flaw bypassed the password): comparisons, states and expiry checks pass."""
    for module in ("actions.claim_share", "lifecycle.claimable_share", "lifecycle.secret_lookup"):
        monkeypatch.setattr(f"app.{module}.same", lambda _a, _b: True)
    monkeypatch.setattr(share_rules, "refusal", lambda _state: None)
    monkeypatch.setattr(share_rules, "state_shown", lambda state, _expires_at, _now: state)


def test_a_wrong_password_yields_no_plaintext_though_every_check_says_yes(resources, share, every_check_says_yes):
    """Lesson 20, G3."""
    for _ in range(5):
        assert isinstance(refusal_of(resources, share, password=WRONG_PASSWORD), WrongPassword)
    assert count_rows(resources, claims) == 0
    assert own_key(share) not in keys_held(resources)


def test_a_wrong_link_yields_no_plaintext_though_every_check_says_yes(resources, share, every_check_says_yes):
    """Lesson 20, G3."""
    wrong = replace(share, link_secret=hashlib.sha256(b"guess").digest())
    assert isinstance(refusal_of(resources, wrong), WrongPassword)
    assert count_rows(resources, claims) == 0


def test_what_a_wrong_password_hands_out_by_proof_opens_nothing(resources, share, every_check_says_yes):
    """Lesson 20, G3: the server part of a wrong password is noise."""
    claimed = run(claim_share(resources, share.id, by_proof(share, password=WRONG_PASSWORD)))
    with pytest.raises(Exception, match="cannot decrypt"):
        opened_by_hand(resources, share, claimed)


def test_a_wrong_claim_token_yields_no_plaintext_though_every_check_says_yes(resources, share, every_check_says_yes):
    """Lesson 20, G3."""
    claimed = run(claim(resources, share))
    with pytest.raises(ClaimNotFound):
        run(fetch(resources, replace(claimed, token=new_secret())))


@pytest.mark.parametrize("end", ["withdrawn", "locked", "completed", "expired"])
def test_an_ended_share_yields_no_plaintext_though_every_check_says_yes(
    resources, caller, share, time, end, monkeypatch
):
    """Lesson 20, G2: its keys are gone; also with the rows put back as they were."""
    before, token = share_row(resources, share.id), new_secret()
    if end == "withdrawn":
        withdraw_share(resources, share.id, caller=caller)
    elif end == "locked":
        for _ in range(5):
            refusal_of(resources, share, password=WRONG_PASSWORD)
    elif end == "completed":
        claimed = run(claim(resources, share, token=token))
        complete_claim(resources, claim_id=claimed.claim_id, token=token, address=ADDRESS)
        with resources.database.writing() as transaction:
            transaction.connection.execute(claims.delete())
    else:
        time.pass_until(share.expires_at)
        sweep(resources)
    restored = {name: getattr(before, name) for name in ("state", "wrapped_key", "attempts", "failures")}
    change(resources, shares, share.id, **restored, expires_at=share.expires_at + timedelta(days=9))
    for module in ("actions.claim_share", "lifecycle.claimable_share", "lifecycle.secret_lookup"):
        monkeypatch.setattr(f"app.{module}.same", lambda _a, _b: True)
    refusal = refusal_of(resources, share)
    assert isinstance(refusal, ShareExpired)
    change(resources, shares, share.id, expires_at=share.expires_at)
    assert isinstance(refusal_of(resources, share), ShareExpired)


def test_a_claim_that_ended_yields_no_plaintext_though_its_row_is_put_back(resources, share):
    """Lesson 18, G5."""
    claimed = run(claim(resources, share))
    rows = share_row(resources, share.id), claim_row(resources, share.id)
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    change(resources, shares, share.id, state=ShareState.CLAIMED, wrapped_key=rows[0].wrapped_key)
    change(resources, claims, claimed.claim_id, wrapped_key=rows[1].wrapped_key)
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))


def test_the_depositor_opens_nothing_after_the_end_either(resources, caller, sent, time):
    """G2."""
    before = transfer_row(resources, sent.id)
    delete_transfer(resources, sent.id, caller=caller)
    with pytest.raises(Refusal):
        open_for_owner(resources.vault, before, sent.transfer.client_key, time())


def test_everything_stolen_at_rest_opens_nothing_without_the_link(resources, share):
    """G4: database, blobs and vault together, and the right password: not without the link secret."""
    row = share_row(resources, share.id)
    assert row.wrapped_key is not None
    keys = {
        name: resources.vault.open(name, resources.clock.now())
        for name in (EntryName(share.transfer_id, share.expires_at), own_key(share))
    }
    shred_key, share_shred_key = keys.values()
    from app.crypto.stretching import stretch

    stretched = stretch(share.password, row.argon2_salt, resources.settings.argon2)
    part = wrapping.server_part(stretched, shred_key, share_shred_key, share.id)
    with pytest.raises(Exception, match="cannot decrypt"):
        wrapping.unwrap_for_share(
            row.wrapped_key,
            share_key=wrapping.share_key(new_secret(), part, share.id),
            transfer_id=share.transfer_id,
            share_id=share.id,
        )
    assert len(files_of(resources, share.transfer_id)) == 1
