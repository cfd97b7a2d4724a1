"""Three independent mechanisms end a transfer (G1): requests refuse, the vault purges its keys, the sweeper deletes.

Each test disables two of them. A process whose clock stands still disables the refusals: every check of the time, in
rules, actions and vault, then passes.
"""

from datetime import timedelta

import pytest

from app.actions.keep_time import keep_time
from app.actions.look_at_share import look_at_share
from app.crypto.wrapping import link_proof
from app.domain.clock import Uptime
from app.domain.errors import ClaimEnded, ShareExpired, TransferEnded
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.domain.vault_entry import EntryName
from app.runtime.resources import Resources
from app.storage.errors import KeyExpired, KeyGone, VaultUnavailable
from app.storage.key_vault import Mark, anchor_mark
from tests.integration.actions.stories import (
    CONTENT,
    a_transfer,
    blobs_held,
    claim,
    claim_row,
    fetch,
    issue,
    key_path,
    keys_held,
    open_claim,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)
from tests.integration.conftest import START
from tests.integration.retention.streams import stalled_download, stalled_upload

LIFETIME = timedelta(minutes=10)
MICROSECOND, HOUR, YEAR = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=365)


@pytest.fixture
def unclaimed(resources, caller):
    return send(resources, caller, lifetime=LIFETIME)


@pytest.fixture
def fetching(resources, caller):
    """A transfer that its recipient has claimed and could go on fetching."""
    return send(resources, caller, lifetime=LIFETIME)


@pytest.fixture
def claimed(resources, fetching):
    return run(claim(resources, fetching.share))


@pytest.fixture
def expiry(unclaimed, fetching):
    return max(unclaimed.transfer.expires_at, fetching.transfer.expires_at)


@pytest.fixture
def blind(resources, start_service, monkeypatch) -> Resources:
    """A process for which it is always before every expiry."""
    reader: Resources = start_service()
    monkeypatch.setattr(reader.clock, "now", lambda: START)
    return reader


# Reading alone: no sweep, no purge


def test_until_the_last_instant_everything_opens(resources, time, unclaimed, claimed, expiry):
    time.pass_until(expiry - MICROSECOND)
    assert run(fetch(resources, claimed)) == CONTENT
    assert run(claim(resources, unclaimed.share)).transfer_id == unclaimed.id


def test_reading_alone_refuses_from_the_first_instant(resources, time, unclaimed, fetching, claimed, expiry):
    """Lesson 1: stop the sweeper, and past expiry a fetch is refused (Dispose; Pingvin Share #36)."""
    time.pass_until(expiry)
    assert len(keys_held(resources)) == 5, "nothing was purged"
    assert look_at_share(resources, unclaimed.share.id, link_proof(unclaimed.share.link_secret)).state == "expired"
    with pytest.raises(ShareExpired):
        run(claim(resources, unclaimed.share))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed))
    with pytest.raises(ClaimEnded):
        run(fetch(resources, claimed, decrypted=False))
    with pytest.raises(TransferEnded):
        run(issue(resources, unclaimed.caller, unclaimed.transfer))


def test_the_vault_refuses_by_itself_what_is_still_on_its_disk(resources, time, unclaimed, expiry):
    time.pass_until(expiry)
    name = EntryName(unclaimed.id, unclaimed.transfer.expires_at)
    assert resources.vault.holds(name)
    with pytest.raises(KeyExpired):
        resources.vault.open(name, resources.clock.now())


def test_a_running_download_gets_no_further_piece(resources, caller, time):
    sent = send(resources, caller, content=bytes(3 << 20), lifetime=LIFETIME)
    claimed = run(claim(resources, sent.share))

    async def story() -> None:
        files = await open_claim(resources, claimed)
        async with files.plaintext(files.files[0], 0, files.files[0].size) as download:
            await anext(download)
            time.pass_until(sent.transfer.expires_at)
            with pytest.raises(ClaimEnded):
                await anext(download)

    run(story())


@pytest.mark.usefixtures("quick_watch")
def test_a_download_that_stalls_is_cut(resources, time, claimed, expiry):
    with pytest.raises(ClaimEnded):
        run(stalled_download(resources, claimed, lambda: time.pass_until(expiry)))


@pytest.mark.usefixtures("quick_watch")
def test_an_upload_that_stalls_is_cut_and_leaves_nothing(resources, caller, time):
    receiving = a_transfer(resources, caller, lifetime=LIFETIME)
    with pytest.raises(TransferEnded):
        run(stalled_upload(resources, caller, receiving, lambda: time.pass_until(receiving.expires_at)))
    assert blobs_held(resources) == set()


# The purge alone: reading is blind, no sweep


def test_a_blind_reader_reads_past_the_expiry_as_long_as_nothing_else_ends_it(blind, time, fetching, claimed, expiry):
    """What the next tests take away is really away."""
    time.pass_until(expiry)
    assert run(fetch(blind, claimed)) == CONTENT


def test_the_purge_alone_makes_it_unreadable(blind, time, purge, unclaimed, fetching, claimed, expiry):
    time.pass_until(expiry)
    assert purge().removed == 5
    assert keys_held(blind) == set()
    with pytest.raises(ShareExpired):
        run(claim(blind, unclaimed.share))
    with pytest.raises(ClaimEnded):
        run(fetch(blind, claimed))
    with pytest.raises(TransferEnded):
        run(issue(blind, unclaimed.caller, unclaimed.transfer))
    assert transfer_row(blind, unclaimed.id).state == TransferState.LIVE, "no sweep has passed"
    assert len(blobs_held(blind)) == 2


def test_with_the_hour_its_key_goes_and_a_copied_entry_opens_nothing(blind, time, purge, fetching, claimed, expiry):
    """Somebody with full rights puts an entry of the vault back, and edits the clock: the hour key is still gone."""
    name = EntryName(fetching.id, fetching.transfer.expires_at)
    entry = key_path(blind, name)
    copy = entry.read_bytes()
    time.pass_until(expiry + HOUR)
    assert purge().hours == 1
    entry.parent.mkdir()
    entry.write_bytes(copy)
    with pytest.raises(KeyGone):
        blind.vault.open(name, START)
    with pytest.raises(ClaimEnded):
        run(fetch(blind, claimed))


# The sweeper alone: reading is blind, no purge


def test_the_sweeper_alone_makes_it_unreadable(resources, blind, time, unclaimed, fetching, claimed, expiry):
    time.pass_until(expiry)
    report = sweep(resources)
    assert (report.ended, report.deleted, report.failed) == (2, 2, 0)
    with pytest.raises(ShareExpired):
        run(claim(blind, unclaimed.share))
    with pytest.raises(ClaimEnded):
        run(fetch(blind, claimed))
    assert keys_held(blind) == set()
    assert blobs_held(blind) == set()
    for sent in (unclaimed, fetching):
        row = transfer_row(blind, sent.id)
        assert (row.state, row.owner_wrap) == (TransferState.VERIFIED, None)
        assert (share_row(blind, sent.share.id).state, share_row(blind, sent.share.id).wrapped_key) == (
            ShareState.EXPIRED,
            None,
        )
    assert claim_row(blind, fetching.share.id).wrapped_key is None


# The purge needs the vault and nothing else, and goes by the vault's own memory of the time


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_purge_works_without_a_database(resources, time, purge, unclaimed, fetching, expiry):
    resources.database.close()
    for file in resources.database.file.parent.iterdir():
        file.unlink()
    time.pass_until(expiry)
    assert purge().removed == 4
    assert list(resources.database.file.parent.iterdir()) == []


def test_a_host_clock_set_a_year_ahead_purges_nothing(resources, time, purge, unclaimed):
    keep_time(resources)
    time.leap(YEAR)
    report = purge()
    assert (report.removed, report.hours) == (0, 0)
    assert len(keys_held(resources)) == 2


def test_a_host_clock_set_a_year_ahead_does_not_hold_up_what_is_due(resources, time, purge, unclaimed):
    keep_time(resources)
    time.leap(YEAR)
    time.pass_by(LIFETIME)
    assert purge().removed == 2


def test_a_host_clock_set_back_an_hour_purges_what_is_due_by_the_boot_clock(resources, time, purge, unclaimed):
    """Lesson 12: clock set back an hour after expiry: still gone."""
    keep_time(resources)
    time.leap(-HOUR)
    assert purge().removed == 0
    time.pass_by(LIFETIME)
    assert purge().removed == 2


def test_after_a_reboot_with_the_clock_set_back_what_was_due_stays_due(resources, time, purge, unclaimed, monkeypatch):
    """The boot clock is gone; the mark in the vault is not."""
    time.pass_until(unclaimed.transfer.expires_at)
    keep_time(resources)
    time.leap(-HOUR)
    monkeypatch.setattr(time, "uptime", lambda: Uptime("the-next-boot", 3.0))
    assert purge().removed == 2


def test_after_a_reboot_with_the_clock_far_ahead_a_day_is_believed_and_no_more(
    resources, caller, time, purge, monkeypatch
):
    send(resources, caller, lifetime=timedelta(days=1))
    send(resources, caller, lifetime=timedelta(days=1, seconds=1))
    keep_time(resources)
    time.leap(YEAR)
    monkeypatch.setattr(time, "uptime", lambda: Uptime("the-next-boot", 3.0))
    assert purge().removed == 2
    assert len(keys_held(resources)) == 2


def test_an_altered_mark_stops_the_purge_loudly(resources, tmp_path, purge):
    """It must not fall back to a time that anybody can set. What it cannot judge is left to the sweeper."""
    for mark in (Mark.HIGH_WATER, anchor_mark("this-boot")):
        resources.vault.write_mark("tomorrow", mark)
    with pytest.raises(VaultUnavailable):
        purge()
