"""Unfinished files of `get`: decrypted data that must not outlast its share.

Each is recorded before it is created, so that it is found again wherever it lies: at the end of its share, and by the
next start of a client after one that was killed.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx

from app.client.errors import InUse, NotConfigured, ServiceRefused
from app.client.http_calls import ask_for
from app.client.moments import has_passed
from app.client.state import ClaimRecord, ClientState
from app.crypto.encoding import encode

CLOCK_DOUBT = timedelta(days=2)
"""How long after its expiry, by this machine's clock, a claim is forgotten without the service's word."""


def part_name(share_id: str, number: object) -> str:
    """Return the name of an unfinished file."""
    return f".caducee-{share_id}-{number}.part"


def record_part(record: ClaimRecord, part: Path) -> None:
    """Record an unfinished file that is about to be created."""
    if str(part) not in record.parts:
        record.parts[str(part)] = part.parent.stat().st_dev
        record.save()


def remove_parts(record: ClaimRecord) -> None:
    """Remove the unfinished files. Those that cannot be removed now stay recorded, as on a disk that is not mounted."""
    record.parts = {part: device for part, device in record.parts.items() if not _removed(Path(part), device)}


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
        with suppress(InUse, NotConfigured, OSError), state.claiming(share_id) as record:
            if not record.was_kept:
                continue
            if _is_over(record, http):
                forget(record)
            elif has_passed(record.expires_at):  # by this machine's clock, which may be wrong: the token stays
                remove_parts(record)
                record.save()


def _removed(part: Path, device: int) -> bool:
    """Remove a file. One that is absent counts as removed only if its own volume is there."""
    try:
        part.unlink(missing_ok=True)
        return part.parent.stat().st_dev == device
    except OSError:
        return False


def _is_over(record: ClaimRecord, http: httpx.Client) -> bool:
    if has_passed(record.expires_at, by=CLOCK_DOUBT):
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
