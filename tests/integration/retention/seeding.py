"""Many transfers at once, real to the last byte: rows, an entry in the vault and a blob for each, made without the
service, which would take its time for durability that no test needs.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import insert

from app.crypto.encoding import encode
from app.crypto.token import new_id, new_secret
from app.crypto.wrapping import wrap
from app.db.tables import files, transfers
from app.domain.access_token import actor_of
from app.domain.transfer import FileState, TransferState
from app.domain.vault_entry import EntryName
from app.runtime.resources import Resources
from app.storage.hour_folder import HOUR_KEY_FILE, place_of
from app.storage.key_vault import label_of
from tests.integration.actions.stories import vault_folder

ROWS_AT_ONCE = 10_000


def seed(
    resources: Resources, count: int, *, token_id: str, created_at: datetime, expires_at: datetime, stored: bool = True
) -> None:
    """Live transfers of one file each; `stored` False: their rows alone."""
    rows = _rows(count, token_id=token_id, created_at=created_at, expires_at=expires_at)
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        with resources.database.writing() as transaction:
            transaction.connection.execute(insert(transfers), [transfer for transfer, _ in batch])
            transaction.connection.execute(insert(files), [file for _, file in batch])
        if stored:
            for transfer, file in batch:
                _store(resources, EntryName(transfer["id"], expires_at), file["blob_id"])


def _rows(
    count: int, *, token_id: str, created_at: datetime, expires_at: datetime
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for number in range(count):
        transfer_id, due = new_id(), expires_at + timedelta(microseconds=number)  # as they were created
        yield (
            {
                "id": transfer_id,
                "token_id": token_id,
                "owner": actor_of(token_id),
                "state": TransferState.LIVE,
                "sealed": False,
                "created_at": created_at,
                "expires_at": expires_at,
                "keep_until_expiry": False,
                "owner_wrap": new_secret(),
                "due_at": due,
                "failures": 0,
            },
            {
                "transfer_id": transfer_id,
                "number": 0,
                "blob_id": new_id(),
                "state": FileState.LIVE,
                "size": 5,
                "sealed_size": 77,
                "sealed_meta": b"sealed",
                "created_at": created_at,
            },
        )


def _store(resources: Resources, name: EntryName, blob_id: str) -> None:
    hour, entry = place_of(name)
    folder = vault_folder(resources) / hour
    if not folder.exists():
        folder.mkdir()
        (folder / HOUR_KEY_FILE).write_bytes(new_secret())
    hour_key = (folder / HOUR_KEY_FILE).read_bytes()
    (folder / entry).write_bytes(wrap(hour_key, new_secret(), label_of(name)))
    blobs = resources.settings.blobs_dir / blob_id[:2]
    blobs.mkdir(exist_ok=True)
    (blobs / blob_id).write_bytes(encode(new_secret()).encode())
