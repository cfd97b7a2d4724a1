"""Time in which the service itself keeps recipients out is given back to the windows of their claims."""

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.actions import sweep as sweeping
from app.actions.claim_share import claim_share
from app.actions.complete_claim import complete_claim
from app.actions.fetch_file import open_files
from app.actions.lock_down import lift_lockdown, lock_down
from app.actions.report_retention import report_retention
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_secret
from app.db import service_rows
from app.domain.errors import ClaimEnded, ClaimNotFound, Refusal, ShareUsed, VaultOutOfReach
from app.domain.reconciled import Contradiction
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.refused_time import ADD_EVERY, SEEN_WITHIN
from app.runtime.resources import Resources
from app.storage import durable_files
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    claim,
    claim_row,
    events_of,
    fetch,
    log_of,
    out_of_reach,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
    vault_folder,
)
from tests.integration.conftest import START

MINUTE, HOUR, SECOND = timedelta(minutes=1), timedelta(hours=1), timedelta(seconds=1)
WINDOW = 60 * MINUTE


@pytest.fixture
def claimed(resources, sent):
    return run(claim(resources, sent.share))


@contextmanager
def locked_down(resources: Resources) -> Iterator[None]:
    lock_down(resources.database, resources.clock)
    yield
    lift_lockdown(resources.database, resources.clock)


@contextmanager
def vault_away(resources: Resources) -> Iterator[None]:
    with out_of_reach(vault_folder(resources)):
        yield


@contextmanager
def mount_point_left(resources: Resources) -> Iterator[None]:
    """The volume is gone; the empty folder that it was mounted on is there."""
    vault = vault_folder(resources)
    with out_of_reach(vault):
        vault.mkdir()
        yield
        vault.rmdir()


@contextmanager
def rolled_back(resources: Resources) -> Iterator[None]:
    with resources.database.writing() as transaction:
        service_rows.note_rolled_back(transaction.connection, resources.clock.now())
    yield
    with resources.database.writing() as transaction:
        service_rows.accept_rolled_back(transaction.connection)


@contextmanager
def clock_not_trusted(resources: Resources) -> Iterator[None]:
    with resources.database.writing() as transaction:
        problem = "the host's clock has leapt"
        service_rows.keep_problems(transaction.connection, service_rows.Problems("this-boot", problem))
    yield
    with resources.database.writing() as transaction:
        service_rows.forget_clock_problem(transaction.connection)


REFUSALS = [locked_down, vault_away, mount_point_left, rolled_back, clock_not_trusted]
each_refusal = pytest.mark.parametrize("refusing", REFUSALS, ids=lambda refusing: refusing.__name__)


def left(resources, sent, time) -> timedelta:
    now: datetime = time()
    return claim_row(resources, sent.share.id).window_until - now


@each_refusal
def test_no_claim_lapses_while_recipients_are_refused_and_none_loses_time(resources, sent, claimed, time, refusing):
    time.pass_by(WINDOW - MINUTE)
    with refusing(resources):
        sweep(resources)
        time.pass_by(2 * HOUR)
        sweep(resources)
        with pytest.raises(Refusal):
            run(fetch(resources, claimed))
        time.pass_by(HOUR)
        sweep(resources)
        assert share_row(resources, sent.share.id).state == ShareState.CLAIMED
        time.pass_by(ADD_EVERY - SECOND)
    sweep(resources)
    assert left(resources, sent, time) == MINUTE + SEEN_WITHIN
    time.pass_by(MINUTE + SEEN_WITHIN - timedelta.resolution)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.CLAIMED
    time.pass_by(timedelta.resolution)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.LAPSED
    assert events_of(resources, share=sent.share.id)[-2:] == ["share.lapsed", "share.keys_destroyed"]


@each_refusal
def test_a_fetch_that_comes_before_the_next_sweep_finds_its_claim(resources, sent, claimed, time, refusing):
    time.pass_by(WINDOW - MINUTE)
    with refusing(resources):
        sweep(resources)
        time.pass_by(2 * HOUR)
    assert time() > claim_row(resources, sent.share.id).window_until
    assert run(fetch(resources, claimed)) == CONTENT
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.CLAIMED


@each_refusal
def test_a_completion_that_comes_before_the_next_sweep_completes(resources, sent, claimed, time, refusing):
    time.pass_by(WINDOW - MINUTE)
    with refusing(resources):
        sweep(resources)
        time.pass_by(2 * HOUR)
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    assert share_row(resources, sent.share.id).state == ShareState.COMPLETED


def test_a_claim_is_repeated_after_refused_time(resources, caller, time):
    sent, token = send(resources, caller), new_secret()
    presented = LinkAndPassword.by_secret(sent.share.link_secret, sent.share.password, token, ADDRESS)
    first = run(claim_share(resources, sent.share.id, presented))
    with locked_down(resources):
        sweep(resources)
        time.pass_by(2 * HOUR)
    assert run(claim_share(resources, sent.share.id, presented)).claim_id == first.claim_id


def test_what_a_window_had_left_before_is_all_that_it_gets(resources, sent, claimed, time):
    """One that was over before the refusal began lapses."""
    time.pass_by(WINDOW)
    with locked_down(resources):
        time.pass_by(timedelta(microseconds=1) + SEEN_WITHIN)
        sweep(resources)
        assert share_row(resources, sent.share.id).state == ShareState.CLAIMED, "not while it lasts"
        time.pass_by(HOUR)
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.LAPSED


@each_refusal
def test_no_window_passes_the_expiry_and_no_expiry_waits(resources, caller, time, refusing):
    sent = send(resources, caller, lifetime=2 * HOUR)
    run(claim(resources, sent.share))
    expiry = sent.transfer.expires_at
    with ExitStack() as stack:
        stack.enter_context(refusing(resources))
        sweep(resources)
        time.pass_by(HOUR + 50 * MINUTE)
        sweep(resources)
        assert claim_row(resources, sent.share.id).window_until == expiry
        time.pass_until(expiry)
        sweep(resources)
        assert share_row(resources, sent.share.id).state == ShareState.EXPIRED
    time.pass_by(5 * MINUTE)
    sweep(resources)
    assert transfer_row(resources, sent.id).verified_at is not None


def test_a_restart_in_between_loses_nothing(resources, sent, claimed, time, start_service: Callable[..., Resources]):
    time.pass_by(WINDOW - MINUTE)
    with locked_down(resources):
        sweep(resources)
        time.pass_by(HOUR)
        sweep(resources)
        time.pass_by(5 * SECOND)
        restarted = start_service()
        time.pass_by(HOUR)
        sweep(restarted)
        time.pass_by(5 * SECOND)
    again = start_service()
    assert run(fetch(again, claimed)) == CONTENT
    sweep(again)
    assert left(again, sent, time) > WINDOW - MINUTE


def test_of_two_sweepers_one_adds_the_time(resources, sent, claimed, time, start_service):
    other = start_service()
    time.pass_by(WINDOW - MINUTE)
    with locked_down(resources):
        for sweeper in (resources, other):
            sweep(sweeper)
        time.pass_by(HOUR)
        for sweeper in (resources, other, resources):
            sweep(sweeper)
    with resources.database.writing() as transaction:
        since = service_rows.refused_since(transaction.connection)
        assert since != START
        assert not service_rows.replace_refused_since(transaction.connection, START, time())
        assert not service_rows.replace_refused_since(transaction.connection, None, time())
    for sweeper in (other, resources):
        sweep(sweeper)
    assert left(resources, sent, time) == MINUTE + SEEN_WITHIN


def test_shares_that_ended_and_those_not_claimed_are_left_alone(resources, caller, sent, claimed, time):
    unclaimed = send(resources, caller)
    withdraw_share(resources, sent.share.id, caller=caller)
    before = claim_row(resources, sent.share.id).window_until
    with locked_down(resources):
        sweep(resources)
        time.pass_by(HOUR)
        sweep(resources)
    sweep(resources)
    assert claim_row(resources, sent.share.id).window_until == before
    assert share_row(resources, unclaimed.share.id).state == ShareState.ISSUED


def test_a_service_that_refuses_nobody_notes_nothing(resources, claimed, time):
    sweep(resources)
    time.pass_by(30 * MINUTE)
    sweep(resources)
    with resources.database.reading() as connection:
        assert service_rows.refused_since(connection) is None


# The vault can record no claim


@contextmanager
def full(vault: Path) -> Iterator[None]:
    """A volume without room for another file: each new one fails, and what is there can be read and removed."""
    create = durable_files.create_file

    def create_elsewhere(name: str, *, within: int, private: bool = False) -> int:
        if Path(f"/proc/self/fd/{within}").readlink().is_relative_to(vault):
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(name, within=within, private=private)

    durable_files.create_file = create_elsewhere
    try:
        yield
    finally:
        durable_files.create_file = create


def test_a_full_vault_burns_no_share(resources, sent, caller, time):
    """Its recipient retries with the same token, longer than a window lasts; nobody else may, and nothing is served."""
    token = new_secret()
    with full(vault_folder(resources)):
        for _ in range(14):
            with pytest.raises(VaultOutOfReach):
                run(claim(resources, sent.share, token=token))
            with pytest.raises(ShareUsed):
                run(claim(resources, sent.share))
            claim_id = claim_row(resources, sent.share.id).id
            with pytest.raises(ClaimNotFound):
                run(open_files(resources, claim_id=claim_id, token=token, numbers=[0], decrypted=True, address=ADDRESS))
            time.pass_by(5 * MINUTE)
            sweep(resources)
        assert report_retention(resources, orphans=0).witnesses.contradictions == [
            Contradiction("claim_unrecorded", sent.id)
        ]
    claimed = run(claim(resources, sent.share, token=token))
    assert run(fetch(resources, claimed)) == CONTENT
    assert report_retention(resources, orphans=0).witnesses.contradictions == []
    assert [entry["claim"] for entry in log_of(resources, event="share.claimed")] == [claimed.claim_id]
    time.pass_by(WINDOW)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.LAPSED


def test_the_window_of_an_unrecorded_claim_begins_with_its_record(resources, sent, time):
    """Between the end of its window and the next sweep, too."""
    token = new_secret()
    with full(vault_folder(resources)), pytest.raises(VaultOutOfReach):
        run(claim(resources, sent.share, token=token))
    time.pass_by(WINDOW)
    claimed = run(claim(resources, sent.share, token=token))
    sweep(resources)
    assert left(resources, sent, time) == WINDOW
    time.pass_by(WINDOW - SECOND)
    sweep(resources)
    assert run(fetch(resources, claimed)) == CONTENT


def test_an_unrecorded_claim_ends_with_its_transfer(resources, sent, time):
    with full(vault_folder(resources)), pytest.raises(VaultOutOfReach):
        run(claim(resources, sent.share, token=new_secret()))
    for _ in range(3):
        time.pass_by(WINDOW)
        sweep(resources)
        assert share_row(resources, sent.share.id).state == ShareState.CLAIMED
    time.pass_until(sent.transfer.expires_at)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.EXPIRED
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED


def test_a_claim_that_was_served_lapses_though_its_record_is_lost(resources, sent, claimed, time):
    run(fetch(resources, claimed))
    resources.vault.destroy([EntryName(sent.id, sent.share.expires_at, sent.share.id).of_claim])
    time.pass_by(WINDOW)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.LAPSED


def test_no_claim_lapses_when_the_vault_becomes_unreachable_during_a_sweep(resources, sent, claimed, time, monkeypatch):
    time.pass_by(WINDOW)
    monkeypatch.setattr(sweeping, "add_refused_time", lambda _resources: None)
    with out_of_reach(vault_folder(resources)):
        sweep(resources)
        assert share_row(resources, sent.share.id).state == ShareState.CLAIMED
    time.pass_by(MINUTE)
    sweep(resources)
    assert share_row(resources, sent.share.id).state == ShareState.LAPSED
