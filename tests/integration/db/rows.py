"""Rows as tests put them into a database, with the least that each needs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.crypto.token import new_id, new_secret
from app.db import access_token_rows, file_rows, service_rows, share_rows, transfer_rows
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.db.transfer_rows import TransferRow
from app.domain.access_token import Role
from app.domain.share import ShareState
from app.domain.transfer import FileState, TransferState

NOW = datetime(2026, 3, 2, 10, 15, 30, 123_456, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
EXPIRY = (NOW + 24 * HOUR).replace(microsecond=0)
NOBODY = "N" * 21 + "A"


def a_service(connection, moment):
    service_rows.create(connection, service_rows.ServiceState(new_id(), moment, "caducee.log/x", moment, None))


def a_token(connection, token_id=NOBODY, digest=bytes(32)):
    row = access_token_rows.TokenRow(token_id, "lab", Role.STAFF, NOW, None, None, f"token:{token_id}")
    access_token_rows.create(connection, row, digest)


def a_transfer(connection, **changes) -> TransferRow:
    values: dict[str, Any] = {
        "id": new_id(),
        "token_id": NOBODY,
        "state": TransferState.LIVE,
        "sealed": False,
        "created_at": NOW,
        "expires_at": EXPIRY,
        "closed_at": None,
        "keep_until_expiry": False,
        "label": None,
        "purpose": None,
        "records": None,
        "owner_wrap": new_secret(),
        "ending": None,
        "denied_at": None,
        "verified_at": None,
        "due_at": EXPIRY,
        "failures": 0,
        "owner": f"token:{changes.get('token_id', NOBODY)}",
    }
    row = TransferRow(**(values | changes))
    transfer_rows.create(connection, row)
    return row


def a_file(connection, transfer: TransferRow, number=0, **changes) -> FileRow:
    values: dict[str, Any] = {
        "transfer_id": transfer.id,
        "number": number,
        "blob_id": new_id(),
        "state": FileState.LIVE,
        "size": 100,
        "sealed_size": 172,
        "sealed_meta": b"sealed",
        "created_at": NOW,
        "lease_until": None,
    }
    row = FileRow(**(values | changes))
    file_rows.add(connection, row)
    return row


def a_share(connection, transfer: TransferRow, **changes) -> ShareRow:
    values: dict[str, Any] = {
        "id": new_id(),
        "transfer_id": transfer.id,
        "recipient": "agency",
        "state": ShareState.ISSUED,
        "issued_at": NOW,
        "expires_at": transfer.expires_at,
        "link_proof_digest": new_secret(),
        "verifier_digest": new_secret(),
        "argon2_salt": bytes(16),
        "argon2_time": 1,
        "argon2_memory_kib": 64,
        "argon2_lanes": 1,
        "wrapped_key": new_secret(),
        "attempts": 0,
        "failures": 0,
        "attempted_at": None,
        "used_at": None,
        "ended_at": None,
        "keys_destroyed_at": None,
    }
    row = ShareRow(**(values | changes))
    share_rows.create(connection, row)
    return row


def claim_of(share: ShareRow, **changes) -> ClaimRow:
    """A claim that is not in the database yet."""
    values: dict[str, Any] = {
        "id": new_id(),
        "share_id": share.id,
        "transfer_id": share.transfer_id,
        "token_digest": new_secret(),
        "by_proof": False,
        "wrapped_key": new_secret(),
        "claimed_at": NOW,
        "window_until": NOW + HOUR,
        "allowance": 1000,
        "bytes_served": 0,
        "delivered_at": None,
    }
    return ClaimRow(**(values | changes))
