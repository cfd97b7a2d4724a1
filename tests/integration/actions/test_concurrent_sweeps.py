"""Sweeps beside each other, and beside requests: each act happens once and none is overlooked."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from app.actions import sweep as sweeping
from app.actions.complete_claim import complete_claim
from app.actions.delete_transfer import delete_transfer
from app.actions.deposit_file import DepositedFile
from app.actions.sweep import SweepReport
from app.actions.withdraw_share import withdraw_share
from app.crypto.token import new_id, new_secret
from app.db import counter_rows, share_rows
from app.db.tables import transfers
from app.domain.share import ShareState
from app.domain.transfer import TransferState
from app.lifecycle import deletion, endings
from app.lifecycle.intake import LEASE
from app.runtime.fault_points import on_reach
from tests.integration.actions.stories import (
    ADDRESS,
    a_transfer,
    change,
    claim,
    deposit,
    events_of,
    first_time,
    in_another_thread,
    issue,
    log_of,
    run,
    send,
    share_row,
    sweep,
    transfer_row,
)


def test_several_schedulers_delete_everything_once(start_service, resources, caller, time):
    """The database decides who works: any number of schedulers may run."""
    services = [start_service() for _ in range(3)]
    sent = [send(resources, caller) for _ in range(9)]
    time.pass_until(sent[-1].transfer.expires_at)
    reports = []
    together = threading.Barrier(len(services))

    def work(service):
        together.wait()
        reports.append(sweep(service))

    threads = [threading.Thread(target=work, args=(service,)) for service in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 3
    time.pass_by(timedelta(minutes=5))  # on SQLite, one may have kept another from cutting its log
    sweep(resources)
    deleted = [entry["transfer"] for entry in log_of(resources, event="transfer.deleted")]
    assert sorted(deleted) == sorted(each.id for each in sent)
    assert len(log_of(resources, event="transfer.denied")) == 9


def test_sweeps_recorded_at_once_do_not_lock_each_other_out(start_service, resources):
    """Each records its time and counts itself. On PostgreSQL, rows locked in two orders would deadlock."""
    services, times = [start_service() for _ in range(3)], 60
    together = threading.Barrier(len(services))

    def work(service):
        together.wait()
        for _ in range(times):
            sweep(service)

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(work, service) for service in services]:
            done.result()
    with resources.database.reading() as connection:
        assert counter_rows.every(connection)["sweeps"] == len(services) * times


def test_two_sweepers_that_work_on_one_transfer_tell_each_step_once(start_service, resources, caller, time):
    """Lesson 10: what the log counts as deleted was deleted once. A sweep by hand beside the scheduler's, say."""
    other, sent = start_service(), send(resources, caller)
    others: list[SweepReport] = []

    def take_over():
        time.pass_by(deletion.TAKEN_FOR)  # the first sweeper is so slow that another takes over
        others.append(sweep(other))

    time.pass_until(sent.transfer.expires_at)
    with on_reach("deletion.keys_noted", first_time(take_over)):
        report = sweep(resources)
    assert [report.deleted, others[0].deleted] == [0, 1]
    events = events_of(resources, transfer=sent.id)
    assert [event for event in events if events.count(event) > 1] == []
    assert events[-1] == "transfer.deleted"


def test_what_a_sweep_ends_is_its_own_to_delete(start_service, resources, caller, time):
    """Denying asks for a sweep at once; that is the one under way, and no other need begin."""
    sent, other = send(resources, caller), start_service()
    others: list[SweepReport] = []
    time.pass_until(sent.transfer.expires_at)
    with on_reach("deletion.keys_noted", first_time(lambda: others.append(sweep(other)))):
        assert sweep(resources).deleted == 1
    assert [report.deleted for report in others] == [0]


@pytest.mark.parametrize("request_", ["claim", "withdraw", "delete", "complete"])
def test_what_a_request_does_during_a_sweep_is_not_overlooked(resources, caller, time, request_):
    """The sweep had read the transfer before: its "look again at the expiry" must not hide what came since."""
    transfer = a_transfer(resources, caller)
    run(deposit(resources, caller, transfer))
    share = run(issue(resources, caller, transfer))
    token = new_secret()
    claim_id = run(claim(resources, share, token=token)).claim_id if request_ == "complete" else ""
    change(resources, transfers, transfer.id, due_at=time())  # for whatever reason it is looked at just now
    done: list[str] = []

    def request():
        if request_ == "claim":
            run(claim(resources, share))
        elif request_ == "withdraw":
            withdraw_share(resources, share.id, caller=caller)
        elif request_ == "delete":
            delete_transfer(resources, transfer.id, caller=caller)
        else:
            complete_claim(resources, claim_id=claim_id, token=token, address=ADDRESS)
        done.append(request_)

    with on_reach("deletion.loaded", first_time(lambda: in_another_thread(request).result())):
        sweep(resources)
    assert done == [request_]
    expected = {"claim": time() + timedelta(minutes=60)}.get(request_, time() + timedelta(seconds=1))
    assert transfer_row(resources, transfer.id).due_at == expected


def test_an_upload_that_begins_during_a_sweep_keeps_its_lease(resources, caller, time):
    transfer = a_transfer(resources, caller)
    change(resources, transfers, transfer.id, due_at=time())
    begun, ends = threading.Event(), threading.Event()
    uploads: list[Future[DepositedFile]] = []

    async def stalls():
        begun.set()
        yield b"x"
        await asyncio.to_thread(ends.wait, 10)

    def begin():
        uploads.append(in_another_thread(lambda: run(deposit(resources, caller, transfer, stalls()))))
        assert begun.wait(10)

    with on_reach("deletion.loaded", first_time(begin)):
        sweep(resources)
    assert transfer_row(resources, transfer.id).due_at == time() + LEASE
    ends.set()
    assert uploads[0].result().number == 0


def test_a_share_issued_while_the_sweep_was_under_way_ends_with_its_transfer(resources, caller, time, monkeypatch):
    """Between the sweep's look at what is due and its end of the transfer."""
    sent = send(resources, caller)
    time.pass_until(sent.transfer.expires_at)
    deny, late = endings.deny_transfers, replace(share_row(resources, sent.share.id), id=new_id())

    def issue_and_deny(transaction, *given, **named):
        share_rows.create(transaction.connection, late)
        return deny(transaction, *given, **named)

    monkeypatch.setattr(endings, "deny_transfers", issue_and_deny)
    sweep(resources)
    assert transfer_row(resources, sent.id).state == TransferState.VERIFIED
    row = share_row(resources, late.id)
    assert (row.state, row.wrapped_key) == (ShareState.EXPIRED, None)


def test_a_sweep_ends_though_something_falls_due_all_the_time(resources, caller, time, monkeypatch):
    """Else it would never be recorded, and the dead-man's switch would stop deposits while deletion keeps up."""
    sent = [send(resources, caller, lifetime=timedelta(minutes=1, seconds=number)) for number in range(5)]
    real, swept = deletion.delete_batch, []

    async def meanwhile(service, batch, watch):
        swept.append(batch)
        done = await real(service, batch, watch)
        time.pass_by(1)
        return done

    monkeypatch.setattr(sweeping, "delete_batch", meanwhile)
    time.pass_until(sent[0].transfer.expires_at)
    assert sweep(resources).deleted == 1
    assert swept == [[sent[0].id]]
    assert sweep(resources).deleted == 1
