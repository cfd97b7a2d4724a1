"""Tell a client where its upload stands, so that it can go on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.domain.access_token import Caller
from app.domain.upload import require_idle
from app.lifecycle import upload_state
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True)
class ShownUpload:
    """Where an upload stands, in bytes as they are sent."""

    offset: int
    length: int
    expires_at: datetime


def show_upload(resources: Resources, caller: Caller, upload_id: str) -> ShownUpload:
    """Return where the caller's upload stands. Raises UploadNotFound, UploadInProgress."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        state = upload_state.find(connection, caller, upload_id, now)
    if not state.is_complete:
        require_idle(state.upload.part_until, now)
    return ShownUpload(state.offset, state.upload.length, state.upload.expires_at)
