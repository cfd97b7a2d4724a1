"""The delivery report: the same figures whatever became of the rows, and names only as long as rows have them."""

import json
from datetime import timedelta

import pytest

from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.report_deliveries import report_deliveries
from app.db import audit_pruning
from app.domain.document import document
from app.domain.period import Period
from app.domain.retention import FORGET_AFTER
from tests.integration.actions.stories import (
    ADDRESS,
    CONTENT,
    a_caller,
    a_transfer,
    claim,
    deposit,
    fetch,
    issue,
    log_of,
    run,
    send,
    sweep,
)
from tests.integration.conftest import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALWAYS = Period(START - DAY, START + 400 * DAY)


@pytest.fixture
def ask(resources):
    return lambda period=ALWAYS: report_deliveries(resources, period)


@pytest.fixture
def lab(resources):
    return a_caller(resources, name="laboratory")


@pytest.fixture
def story(resources, lab, time):
    """Two recipients: one fetched one of two, the other never fetched; and a transfer without a file."""
    fetched, unfetched = send(resources, lab), send(resources, lab)
    claimed = run(claim(resources, fetched.share))
    run(fetch(resources, claimed))
    complete_claim(resources, claim_id=claimed.claim_id, token=claimed.token, address=ADDRESS)
    forgotten = a_transfer(resources, lab)
    run(deposit(resources, lab, forgotten))
    run(issue(resources, lab, forgotten, "Insurer"))
    a_transfer(resources, lab)
    sweep(resources)
    return fetched, unfetched, forgotten


def test_deposits_are_counted_by_depositor_and_by_recipient(ask, story):
    report = ask()
    assert (report.transfers, report.fetched, report.never_fetched_count, report.complete) == (4, 1, 2, True)
    (depositor,) = report.by_depositor
    assert (depositor.name, depositor.transfers, depositor.files, depositor.shares) == ("laboratory", 4, 3, 3)
    assert (depositor.bytes, depositor.fetched, depositor.never_fetched) == (3 * len(CONTENT), 1, 2)
    durand, insurer = report.by_recipient
    assert (durand.recipient, durand.shares, durand.claimed, durand.fetched) == ("Agency, Ms Durand", 2, 1, 1)
    assert (durand.waiting, durand.downloads, durand.bytes) == (1, 1, len(CONTENT))
    assert (insurer.recipient, insurer.shares, insurer.fetched, insurer.waiting) == ("Insurer", 1, 0, 1)


def test_what_nobody_fetched_is_listed_with_its_end(resources, ask, story, time):
    fetched, unfetched, forgotten = story
    assert {it.transfer for it in ask().never_fetched} == {unfetched.id, forgotten.id}
    time.pass_by(8 * DAY)
    sweep(resources)
    listed = {it.transfer: it for it in ask().never_fetched}
    assert listed[forgotten.id].ending == "expired"
    assert (listed[forgotten.id].recipients, listed[forgotten.id].depositor) == (["Insurer"], "laboratory")
    assert fetched.id not in listed
    assert [it.unfetched for it in ask().by_recipient] == [1, 1]


def test_names_go_with_their_rows_and_figures_stay(resources, ask, story, time):
    """The report says that a name is gone; it never had it from the log."""
    before = ask()
    time.pass_by(8 * DAY)
    sweep(resources)
    time.pass_by(FORGET_AFTER + HOUR)
    sweep(resources)
    after = ask()
    (nameless,) = after.by_recipient
    assert (nameless.recipient, nameless.shares, nameless.fetched) == (None, 3, 1)
    assert sum(it.bytes for it in before.by_recipient) == nameless.bytes
    assert [(it.recipients, it.names_gone) for it in after.never_fetched] == [([], 1), ([], 1)]
    assert after.by_depositor[0].name == "laboratory"
    assert "Durand" not in json.dumps(document(after))
    assert "Durand" not in json.dumps(log_of(resources))


def test_only_transfers_created_in_the_period_count(resources, lab, ask, time):
    first = send(resources, lab)
    time.pass_by(HOUR)
    sweep(resources)
    second = send(resources, lab)
    days = [Period(START, START + HOUR), Period(START + HOUR, START + 2 * HOUR), Period(START + 2 * HOUR, START + DAY)]
    found = [[it.transfer for it in ask(period).never_fetched] for period in days]
    assert found == [[first.id], [second.id], []]


def test_small_pages_and_batches_find_the_same(ask, story, monkeypatch):
    before = document(ask())
    monkeypatch.setattr("app.actions.report_deliveries.PAGE", 1)
    monkeypatch.setattr("app.lifecycle.transfer_entries.PAGE", 2)
    monkeypatch.setattr("app.lifecycle.transfer_entries.BATCH", 1)
    assert document(ask()) == before


def test_a_deleted_transfer_that_was_claimed_but_not_fetched_says_so(resources, lab, ask):
    sent = send(resources, lab)
    run(claim(resources, sent.share))
    delete_transfer(resources, sent.id, caller=lab)
    (listed,) = ask().never_fetched
    assert (listed.claimed, listed.ending) == (True, "deleted")


def test_a_pruned_period_is_plainly_not_complete(resources, ask, story, time):
    time.pass_by(DAY)
    sweep(resources)
    send(resources, a_caller(resources))
    with resources.database.writing() as transaction:
        below = audit_pruning.first_since(transaction.connection, START + HOUR)
        audit_pruning.add_boundary(transaction.connection, below)
        audit_pruning.prune(transaction.connection, 0, below)
    assert not ask(Period(START - DAY, START + DAY)).complete
