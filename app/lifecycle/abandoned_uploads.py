"""Uploads into open transfers whose process died before it committed or aborted them."""

from __future__ import annotations

from datetime import datetime

from app.db import file_rows, upload_rows
from app.db.file_rows import FileRow
from app.domain.audit_events import Entry, Event
from app.domain.transfer import OPEN_STATES, FileState
from app.lifecycle.deletion_case import Case
from app.runtime.resources import Resources
from app.storage.errors import BlobBusy


async def drop_abandoned_uploads(resources: Resources, cases: list[Case]) -> None:
    """Drop uploads whose process died: first the blob, then the row. A live upload locks its blob and is left alone.
    Every upload has a lease; a row without one was altered.
    """
    now = resources.clock.now()
    for case in cases:
        unfinished = [file for file in case.files if file.state == FileState.RECEIVING or file.lease_until]
        dead = [file for file in unfinished if file.lease_until is None or file.lease_until <= now]
        if case.state not in OPEN_STATES or not dead:
            continue
        failures = await resources.blobs.delete([file.blob_id for file in dead])
        gone = [file for file in dead if file.blob_id not in failures]
        case.waiting = bool(failures) and all(isinstance(failure, BlobBusy) for failure in failures.values())
        if failures:
            case.failure = "bytes_left"
        await resources.in_thread(_drop_rows, resources, gone, now)
        case.files = [file for file in case.files if file not in gone]


def _drop_rows(resources: Resources, files: list[FileRow], now: datetime) -> None:
    with resources.database.writing() as transaction:
        for file in files:
            upload_rows.drop(transaction.connection, file.blob_id)
            if file_rows.drop(transaction.connection, file.blob_id):
                transaction.log(
                    Entry(
                        event=Event.UPLOAD_ABANDONED,
                        at=now,
                        actor="scheduler",
                        transfer=file.transfer_id,
                        file=file.number,
                    )
                )
