"""Unfinished files of `get`: decrypted data that must not outlast its share.

Each is recorded before it is created, so that it is found again wherever it lies: at the end of its share, and by the
next start of a client after one that was killed.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx

from app.client.errors import InUse, ServiceRefused
from app.client.http_calls import ask_for
from app.client.state import ClaimRecord, ClientState
from app.crypto.encoding import encode


def part_name(share_id: str, number: object) -> str:
    """Return the name of an unfinished file."""
    return f".caducee-{share_id}-{number}.part"


def record_part(record: ClaimRecord, part: Path) -> None:
    """Record an unfinished file that is about to be created."""
    if str(part) not in record.parts:
        record.parts.append(str(part))
        record.save()


def remove_parts(record: ClaimRecord) -> None:
    """Remove the unfinished files. Those that cannot be removed now stay recorded, as on a disk that is not mounted."""
    record.parts = [part for part in record.parts if not _removed(Path(part))]


def forget(record: ClaimRecord) -> None:
    """Remove a record with its unfinished files; keep the record while one of them could not be removed."""
    remove_parts(record)
    if record.parts:
        record.save()
    else:
        record.clear()


def sweep(state: ClientState, http: httpx.Client) -> None:
    """Forget the claims that have ended: by their expiry, or as the service of `http` reports of its own. A claim that
    another process works on is left to it. Errors of the service are no reason to stop: the next start sweeps again.
    """
    for share_id in state.claims():
        with suppress(InUse), state.claiming(share_id) as record:
            if _is_over(record, http):
                forget(record)


def _removed(part: Path) -> bool:
    if not part.parent.is_dir():
        return False
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _is_over(record: ClaimRecord, http: httpx.Client) -> bool:
    with suppress(ValueError):
        if datetime.fromisoformat(record.expires_at) <= datetime.now(UTC):
            return True
    if not record.claim_id or record.server != str(http.base_url).rstrip("/"):
        return False
    try:
        ask_for(
            http,
            "HEAD",  # uses nothing of the allowance, and no time of the window
            f"/api/v1/claims/{record.claim_id}/blobs/0",
            headers={"Authorization": f"Bearer {encode(record.token)}"},
        )
    except ServiceRefused as refusal:
        return refusal.status == httpx.codes.GONE
    return False
