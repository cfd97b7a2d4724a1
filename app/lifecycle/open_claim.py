"""Find an open claim by its token: the check before every way to a claimed file."""

from __future__ import annotations

from dataclasses import dataclass

from app.db import claim_windows, file_rows
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.domain.errors import ClaimEnded, ClaimNotFound
from app.domain.share import ShareState
from app.lifecycle import claim_record, withdrawal
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.secret_lookup import find_by_token
from app.runtime.life_watch import entries_of
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class OpenClaim:
    """An open claim with its share and files."""

    claim: ClaimRow
    share: ShareRow
    files: list[FileRow]


def require_open_claim(resources: Resources, claim_id: str, token: bytes, *, check_keys: bool) -> OpenClaim:
    """Return the claim if the token matches its row and its record in the vault, and its window is open.

    `check_keys` also requires its keys in the vault; a caller that opens them next does not need that.

    Raises ClaimNotFound, ClaimEnded, ShareWithdrawn, VaultOutOfReach.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        require_open_for_outflow(resources, connection)
        claim, share = find_by_token(connection, claim_id, token)
        files = file_rows.of_transfers(connection, [claim.transfer_id])
        claim = claim_windows.with_refused(connection, claim, share.expires_at, now)
    with withdrawal.named(resources, share.id):
        if share.state != ShareState.CLAIMED or now >= min(claim.window_until, share.expires_at):
            raise ClaimEnded
        try:
            claim_record.require_recorded(resources.vault, share, token)
        except ClaimNotFound:
            resources.life.require_now(entries_of(share))  # if the keys are gone too, the claim has ended
            raise
        if check_keys:
            resources.life.require_now(entries_of(share))
    return OpenClaim(claim, share, files)
