"""Lesson 36: the log alone answers what was held and fetched between two instants (AP-HP could not for weeks), and
holds no file name (CNIL 2021-122).
"""

import json
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from app.actions.accept_restore import accept_restore
from app.actions.complete_claim import complete_claim
from app.actions.log_refused_links import log_refused_links
from app.actions.report_exposure import report_exposure
from app.actions.sign_checkpoint import sign_checkpoint
from app.db import audit_pruning
from app.db.audit_rows import StoredEntry
from app.db.tables import audit_entries, claims, files, shares, transfers
from app.domain.document import document
from app.domain.errors import WrongPassword
from app.domain.exposure import ExposureReport
from app.domain.period import Period
from app.lifecycle.transfer_entries import LogUnreadable
from app.reports.exposure import exposure_page
from app.storage.local_disk import LocalDisk
from app.terminal.exposure import incompleteness
from tests.full_rights import take_full_rights
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    WRONG_PASSWORD,
    Sent,
    a_caller,
    a_transfer,
    claim,
    fetch,
    log_of,
    open_claim,
    run,
    send,
    sweep,
)
from tests.integration.conftest import START

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def exposure(resources):
    """The report of the period between two distances from the beginning."""

    def ask(since: timedelta, until: timedelta) -> ExposureReport:
        return report_exposure(resources, Period(START + since, START + until))

    return ask


@dataclass
class Story:
    """Four transfers: fetched after two wrong passwords; expired unread; deleted late; and one that stays."""

    fetched: Sent
    unread: Sent
    stays: Sent
    claim_id: str


@pytest.fixture
def story(resources, time):
    """What happened, by hours and minutes.

    0:00  `fetched` (40 people declared) and `unread` are deposited
    1:00  two wrong passwords, the right one, 100 bytes fetched, then all; 3 links refused
    1:30  `fetched` is completed and deleted at once
    2:00  `stays` is deposited
    3:00  `unread` expires and is deleted two seconds later
    4:00  now
    """
    caller = a_caller(resources, name="CANARY-person")
    asked = {"label": "CANARY-label", "purpose": "biology", "records": 40}
    fetched = send(resources, caller, content=CONTENT, **asked)
    unread = send(resources, caller, lifetime=3 * HOUR)
    time.pass_by(HOUR)
    for _ in range(2):
        with pytest.raises(WrongPassword):
            run(claim(resources, fetched.share, password=WRONG_PASSWORD))
    claimed = run(claim(resources, fetched.share))
    run(fetch(resources, claimed, start=0, stop=100))
    run(fetch(resources, claimed))
    for _ in range(3):
        resources.refused_links.add()
    log_refused_links(resources)
    time.pass_by(30 * MINUTE)
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    sweep(resources)
    time.pass_by(30 * MINUTE)
    sweep(resources)
    stays = send(resources, caller, purpose="imaging")
    time.pass_by(HOUR + 2 * SECOND)
    sweep(resources)
    time.pass_by(HOUR - 2 * SECOND)
    return Story(fetched, unread, stays, claimed.claim_id)


def ids(report):
    return {held.transfer for held in report.transfers}


def with_keys(report):
    return {held.transfer for held in report.transfers if held.keys_existed}


def test_the_whole_story_is_told(exposure, story):
    report = exposure(-HOUR, 4 * HOUR)
    assert report.complete
    assert ids(report) == with_keys(report) == {story.fetched.id, story.unread.id, story.stays.id}
    assert (report.held.transfers, report.held.files, report.held.bytes) == (3, 3, 3 * len(CONTENT))
    assert (report.held.records, report.held.transfers_without_records) == (40, 2)
    assert [(each.purpose, each.volume.transfers) for each in report.purposes] == [
        ("biology", 1),
        ("imaging", 1),
        (None, 1),
    ]
    (seen,) = report.claims
    assert (seen.claim, seen.claimed_at, seen.addresses) == (story.claim_id, START + HOUR, [ADDRESS])
    assert (seen.bytes, seen.downloads, seen.ending, seen.ended_at) == (
        100 + len(CONTENT),
        2,
        "completed",
        START + 90 * MINUTE,
    )
    (wrong,) = report.wrong_passwords
    assert (wrong.share, wrong.address, wrong.count) == (story.fetched.share.id, ADDRESS, 2)
    assert (report.refused.links, report.refused.most_links_in_a_minute) == (3, 3)
    assert [(gone.transfer, gone.ending, gone.lateness_ms) for gone in report.deletions] == [
        (story.fetched.id, "completed", 0),
        (story.unread.id, "expired", 2000),
    ]
    assert report.deleted.worst_lateness_ms == 2000
    assert (report.fetched.recipients, report.fetched.addresses) == (1, 1)


def test_an_hour_in_the_middle_is_told_apart(exposure, story):
    """Between 1:31 and 1:59 only `unread` was held, and nothing happened."""
    report = exposure(91 * MINUTE, 119 * MINUTE)
    assert ids(report) == with_keys(report) == {story.unread.id}
    assert (report.claims, report.wrong_passwords, report.deletions, report.refused_links) == ([], [], [], [])
    assert (report.fetched.bytes, report.refused.wrong_passwords) == (0, 0)


def test_what_was_fetched_before_the_period_is_told_apart_from_what_was_fetched_in_it(exposure, story):
    """The claim still stood open at 1:10: it is named, with no byte of that time."""
    (seen,) = exposure(70 * MINUTE, 80 * MINUTE).claims
    assert (seen.bytes, seen.downloads, seen.bytes_in_all) == (0, 0, 100 + len(CONTENT))


def test_a_transfer_is_held_with_its_keys_exactly_until_their_destruction(exposure, story):
    """Both boundaries, to the microsecond: the period holds its first instant, and not its last."""
    (gone,) = [held for held in exposure(-HOUR, 4 * HOUR).transfers if held.transfer == story.unread.id]
    end = 3 * HOUR + 2 * SECOND
    assert gone.keys_destroyed_at == gone.deleted_at == START + end
    assert story.unread.id in with_keys(exposure(end - TICK, end))
    assert story.unread.id not in ids(exposure(end, end + TICK))
    assert ids(exposure(-TICK, timedelta(0))) == set()
    assert ids(exposure(timedelta(0), TICK)) == {story.fetched.id, story.unread.id}


def test_bytes_that_outlive_their_keys_are_held_without_keys(resources, exposure, time, caller, monkeypatch):
    """A disk that refuses: the keys are gone an hour before the bytes."""
    sent = send(resources, caller, lifetime=MINUTE)
    time.pass_by(MINUTE)

    async def refuse(_store, blob_ids, *, force=False):
        return {blob_id: OSError() for blob_id in blob_ids}

    with monkeypatch.context() as broken:
        broken.setattr(LocalDisk, "delete", refuse)
        sweep(resources)
    time.pass_by(HOUR)
    sweep(resources)
    assert with_keys(exposure(timedelta(0), MINUTE)) == {sent.id}
    between = exposure(2 * MINUTE, 3 * MINUTE)
    assert (ids(between), with_keys(between)) == ({sent.id}, set())
    assert between.with_keys.transfers == 0
    whole = exposure(timedelta(0), 2 * HOUR)
    assert [(failed.transfer, failed.what) for failed in whole.failed_deletions] == [(sent.id, "bytes_left")]
    assert whole.deletions[0].lateness_ms == HOUR / timedelta(milliseconds=1)
    assert ids(exposure(2 * HOUR, 3 * HOUR)) == set()


def test_the_answer_is_the_same_when_every_row_of_the_transfers_is_gone(resources, exposure, story, caller):
    before = exposure(-HOUR, 4 * HOUR)
    with resources.database.writing() as transaction:
        for table in (claims, shares, files, transfers):
            transaction.connection.execute(delete(table))
    assert document(exposure(-HOUR, 4 * HOUR)) == document(before)


def test_the_answer_holds_no_name_and_no_label(exposure, story):
    """CNIL 2021-122."""
    told = json.dumps(document(exposure(-HOUR, 4 * HOUR)))
    assert story.fetched.id in told
    for secret in ("CANARY", "sultats", "csv", "Durand", story.fetched.share.password):
        assert secret not in told


def test_an_empty_transfer_is_held_and_holds_nothing(resources, exposure, caller):
    empty = a_transfer(resources, caller)
    (held,) = exposure(timedelta(0), HOUR).transfers
    assert (held.transfer, held.files, held.bytes, held.depositor) == (empty.id, 0, 0, caller.actor)


def test_what_is_deposited_after_the_period_does_not_count_in_it(resources, exposure, time, caller):
    a_transfer(resources, caller)
    time.pass_by(HOUR)
    sweep(resources)
    send(resources, caller)
    report = exposure(timedelta(0), HOUR)
    assert (report.held.transfers, report.held.files) == (1, 0)


def test_small_pages_tell_the_same(exposure, story, monkeypatch):
    before = document(exposure(-HOUR, 4 * HOUR))
    for name in ("actions.report_exposure.INDEX_ROWS", "actions.report_exposure.PAGE"):
        monkeypatch.setattr(f"app.{name}", 2)
    for name in ("PAGE", "BATCH"):
        monkeypatch.setattr(f"app.lifecycle.transfer_entries.{name}", 2)
    assert document(exposure(-HOUR, 4 * HOUR)) == before


def test_a_period_before_the_prune_boundary_is_plainly_not_complete(resources, exposure, story):
    """What is pruned cannot be told; what remains of those transfers is."""
    with resources.database.writing() as transaction:
        below = audit_pruning.first_since(transaction.connection, START + HOUR)
        audit_pruning.add_boundary(transaction.connection, below)
        audit_pruning.prune(transaction.connection, 0, below)
    report = exposure(-HOUR, 4 * HOUR)
    assert (report.complete, report.pruned_before) == (False, START + HOUR)
    assert ids(report) == {story.fetched.id, story.unread.id, story.stays.id}
    assert [held.created_at for held in report.transfers][:2] == [None, None]
    later = exposure(HOUR, 4 * HOUR)
    assert ids(later) == ids(report)
    assert ids(exposure(91 * MINUTE, 119 * MINUTE)) == {story.unread.id}


def test_what_was_held_over_the_prune_boundary_is_plainly_told_in_part(resources, exposure, story):
    """Their files and people were told before the boundary: none is counted, and that is said."""
    with resources.database.writing() as transaction:
        below = audit_pruning.first_since(transaction.connection, START + HOUR)
        audit_pruning.add_boundary(transaction.connection, below)
        audit_pruning.prune(transaction.connection, 0, below)
    report = exposure(HOUR, 4 * HOUR)
    assert (report.complete, report.told_in_part) == (False, 2)
    assert (report.held.records, report.held.files) == (0, 1)
    assert any("2 transfers" in line for line in incompleteness(report))
    assert "2 transfers" in exposure_page(report, resources.settings, "en")
    after_them = exposure(3 * HOUR + MINUTE, 4 * HOUR)
    assert (after_them.complete, after_them.told_in_part) == (True, 0)


def test_entries_that_a_restored_database_lost_are_plainly_missing(resources, exposure, signing, story):
    accept_restore(resources, signing)
    report = exposure(3 * HOUR + MINUTE, 5 * HOUR)
    assert (report.complete, report.lost) == (False, [(START + 3 * HOUR + 2 * SECOND, START + 4 * HOUR)])
    incidents = [(seen.event, seen.count) for seen in report.incidents]
    assert incidents == [("database.restored", 1), ("lockdown.begun", None)]
    assert exposure(-HOUR, 3 * HOUR).complete


def test_what_a_restored_database_did_before_it_was_accepted_does_not_hide_the_gap(
    resources, exposure, signing, story, time
):
    """A backup of the night, restored at noon under a scheduler that goes on ending and logging."""
    sign_checkpoint(resources, signing)
    time.pass_by(10 * HOUR)
    a_caller(resources, name="somebody else")
    accept_restore(resources, signing)
    report = exposure(5 * HOUR, 6 * HOUR)
    assert (report.complete, report.lost) == (False, [(START + 4 * HOUR, START + 14 * HOUR)])


def test_an_entry_that_somebody_altered_is_named_and_not_guessed_at(resources, exposure, story):
    (claimed,) = log_of(resources, event="share.claimed")
    with resources.database.writing() as transaction:
        take_full_rights(transaction.connection)
        altered = update(audit_entries).where(audit_entries.c.sequence == claimed["sequence"])
        transaction.connection.execute(altered.values(content='{"transfer":"' + story.fetched.id + '"}'))
    with pytest.raises(LogUnreadable, match=f"entry {claimed['sequence']} .*audit verify"):
        exposure(-HOUR, 4 * HOUR)


def killed_while_fetching(resources, claimed, count):
    """A process that dies in the middle of a download: what it reserved is never given back, and no end is logged."""

    async def story():
        files = await open_claim(resources, claimed)
        download = files.plaintext(files.files[0], 0, count)
        await download.__aenter__()
        await anext(download)

    run(story())


@pytest.mark.parametrize("ends", ["by itself", "with its transfer"])
def test_bytes_of_a_download_whose_process_died_are_told_with_the_end_of_the_share(
    resources, exposure, time, caller, ends
):
    sent = send(resources, caller, lifetime=10 * MINUTE if ends == "with its transfer" else 5 * HOUR)
    claimed = run(claim(resources, sent.share))
    run(fetch(resources, claimed, start=0, stop=100))
    killed_while_fetching(resources, claimed, 300)
    time.pass_by(2 * HOUR)
    sweep(resources)
    event = "share.expired" if ends == "with its transfer" else "share.lapsed"
    (ended,) = log_of(resources, event=event)
    assert ended["size"] == 400
    report = exposure(timedelta(0), 3 * HOUR)
    (seen,) = report.claims
    assert (seen.bytes, seen.bytes_in_all, seen.bytes_untold) == (100, 100, 300)
    assert (report.fetched.recipients, report.fetched.bytes, report.fetched.bytes_untold) == (1, 100, 300)


def test_a_claim_of_which_only_a_dead_download_is_known_counts_as_fetched(resources, exposure, time, caller):
    claimed = run(claim(resources, send(resources, caller).share))
    killed_while_fetching(resources, claimed, len(CONTENT))
    time.pass_by(2 * HOUR)
    sweep(resources)
    report = exposure(timedelta(0), 3 * HOUR)
    assert (report.fetched.recipients, report.fetched.bytes_untold) == (1, len(CONTENT))
    assert f"at most {len(CONTENT):,} bytes more" in exposure_page(report, resources.settings, "en")


def test_bytes_that_every_download_told_are_not_counted_twice(exposure, story):
    report = exposure(-HOUR, 4 * HOUR)
    assert (report.claims[0].bytes_untold, report.fetched.bytes_untold) == (0, 0)


# At size


def fill(resources, entries: int) -> None:
    """A log of a year: lives of nine entries each, one after the other, straight into the table."""
    lives = entries // 9
    step = timedelta(days=365) / lives
    events = [
        ("transfer.created", '"expires_at":"2027-01-01T00:00:00.000000Z","purpose":"biology","records":3,'),
        ("file.deposited", '"file":0,"size":1000,'),
        ("share.issued", '"files":1,"share":"{share}","size":1000,'),
        ("share.claimed", '"address":"203.0.113.7","claim":"{share}","share":"{share}",'),
        ("file.fetched", '"claim":"{share}","outcome":"sent","share":"{share}","size":1000,'),
        ("share.completed", '"share":"{share}",'),
        ("transfer.denied", '"outcome":"completed",'),
        ("keys.destroyed", '"outcome":"completed",'),
        ("transfer.deleted", '"files":1,"lateness_ms":5,"outcome":"completed","size":1000,'),
    ]
    with resources.database.writing() as transaction:
        rows, sequence = [], 1
        for life in range(lives):
            at, transfer = START + step * life, f"T{life * 7919 % lives:021d}"
            for number, (event, more) in enumerate(events):
                members = more.replace("{share}", f"S{life:021d}")
                content = f'{{"actor":"system","event":"{event}",{members}"transfer":"{transfer}"}}'
                moment = at + step * 0.9 * number / len(events)
                rows.append({"sequence": sequence, "at": moment, "content": content, "leaf_hash": bytes(32)})
                sequence += 1
            if len(rows) > 50_000 or life == lives - 1:
                transaction.connection.execute(audit_entries.insert(), rows)
                rows = []


def test_a_question_about_a_day_reads_the_index_and_that_day(resources, exposure, monkeypatch):
    """The same on a small scale: of a year's log, only the entries of the transfers concerned are read."""
    fill(resources, 9_000)
    read = []
    fields = StoredEntry.fields

    def noting(entry):
        read.append(entry.sequence)
        return fields(entry)

    monkeypatch.setattr(StoredEntry, "fields", noting)
    report = exposure(100 * DAY, 101 * DAY)
    assert 3 <= report.held.transfers <= 5
    assert len(read) < 100


@pytest.mark.acceptance
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_question_about_a_day_over_a_million_entries_is_quick(resources, exposure):
    import time as clock

    fill(resources, 1_000_000)
    began = clock.perf_counter()
    report = exposure(100 * DAY, 101 * DAY)
    took = clock.perf_counter() - began
    print(f"\none day of 1,000,000 entries: {took:.2f} s, {report.held.transfers} transfers")
    assert 200 < report.held.transfers < 400
    assert took < 3
