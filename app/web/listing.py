"""A transfer as its depositor sees it: for the API's lists, and for the commands' `--json`."""

from __future__ import annotations

from app.actions.list_transfers import TransferShown
from app.db.share_rows import ShareRow
from app.domain.share import state_shown
from app.settings import Settings
from app.web.schemas import FileListed, ShareListed, TransferListed


def listed(shown: TransferShown, settings: Settings) -> TransferListed:
    """The transfer with its files and shares, states as of the moment it was read."""
    row = shown.transfer
    return TransferListed(
        id=row.id,
        state=row.state.value,
        ending=row.ending.value if row.ending else None,
        sealed=row.sealed,
        label=row.label,
        purpose=row.purpose,
        records=row.records,
        keep_until_expiry=row.keep_until_expiry,
        created_at=row.created_at,
        expires_at=row.expires_at,
        deleted_at=row.verified_at,
        size=sum(file.size for file in shown.files),
        files=[FileListed(number=file.number, size=file.size, state=file.state.value) for file in shown.files],
        shares=[_share(share, shown, settings) for share in shown.shares],
    )


def _share(share: ShareRow, shown: TransferShown, settings: Settings) -> ShareListed:
    return ShareListed(
        id=share.id,
        recipient=share.recipient,
        state=state_shown(share.state, share.expires_at, shown.now).value,
        issued_at=share.issued_at,
        expires_at=share.expires_at,
        used_at=share.used_at,
        ended_at=share.ended_at,
        attempts_left=max(0, settings.password_attempts - share.attempts),
        bytes_served=sum(claim.bytes_served for claim in shown.claims if claim.share_id == share.id),
    )
