"""End an unfinished upload that its client gives up."""

from __future__ import annotations

from app.db import upload_rows
from app.db.file_rows import FileRow
from app.domain.access_token import Caller
from app.domain.errors import UploadNotFound
from app.lifecycle import intake, upload_state
from app.runtime.resources import Resources


async def end_upload(resources: Resources, caller: Caller, upload_id: str) -> None:
    """Remove the upload and what it stored, and stop a part that is being sent.

    Raises UploadNotFound, also for a complete one: its file is deleted with its transfer.
    """
    await intake.undo(resources, await resources.in_thread(_take, resources, caller, upload_id))


def _take(resources: Resources, caller: Caller, upload_id: str) -> FileRow:
    with resources.database.writing() as transaction:
        state = upload_state.find(transaction.connection, caller, upload_id, resources.clock.now())
        if state.is_complete:
            raise UploadNotFound("The upload is complete: its file ends with its transfer.")
        upload_rows.drop(transaction.connection, state.upload.blob_id)
        return state.file
