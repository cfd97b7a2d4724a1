"""Converts a transfer to the schema that depositors see, for the API's lists and for `caducee transfer`."""

from __future__ import annotations

from app.db.file_rows import FileRow
from app.db.share_rows import ShareRow
from app.db.transfer_rows import TransferRow
from app.db.whole_transfers import WholeTransfer
from app.domain.share import state_shown
from app.domain.transfer import OPEN_STATES
from app.runtime.resources import Resources
from app.web.schemas import FileListed, ShareListed, TransferListed


def listed(resources: Resources, shown: WholeTransfer) -> TransferListed:
    """Return the transfer with its files and shares, with their states as of now."""
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
        files=[FileListed(number=file.number, size=file.size, state=_file_state(row, file)) for file in shown.files],
        shares=[_share(resources, share, shown) for share in shown.shares],
    )


def _file_state(row: TransferRow, file: FileRow) -> str:
    """Return the file's state; once the transfer has ended, the transfer's."""
    return file.state.value if row.state in OPEN_STATES else row.state.value


def _share(resources: Resources, share: ShareRow, shown: WholeTransfer) -> ShareListed:
    return ShareListed(
        id=share.id,
        recipient=share.recipient,
        state=state_shown(share.state, share.expires_at, resources.clock.now()).value,
        issued_at=share.issued_at,
        expires_at=share.expires_at,
        used_at=share.used_at,
        ended_at=share.ended_at,
        attempts_left=max(0, resources.settings.password_attempts - share.attempts),
        bytes_served=sum(claim.bytes_served for claim in shown.claims if claim.share_id == share.id),
    )
