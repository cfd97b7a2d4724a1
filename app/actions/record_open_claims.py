"""Once, when a data folder of before the vault recorded claims is upgraded: record those that are open.

Without a record a claim opens nothing. The database is believed here for the last time, so never run this on one whose
claims the vault already records: a claims row that somebody invented would get a record.
"""

from __future__ import annotations

from contextlib import suppress

from app.crypto.token import same
from app.db import share_rows
from app.domain.share import ShareState
from app.domain.vault_entry import EntryName
from app.runtime.resources import Resources
from app.storage.errors import KeyGone


def record_open_claims(resources: Resources) -> int:
    """Record every open claim that has no record and whose keys the vault still holds. Returns how many were recorded
    now; interrupted, it is run again. A damaged row is passed over: its claim opens nothing. Raises VaultUnavailable.
    """
    digests = _open_claims(resources)
    living = resources.vault.living(digests)
    return sum(_record(resources, name, digests[name]) for name in living)


def _open_claims(resources: Resources) -> dict[EntryName, bytes]:
    """The token digests of all open claims, by the shares' entries in the vault."""
    with resources.database.reading() as connection:
        claimed = [share for share in share_rows.open_ones(connection) if share.state == ShareState.CLAIMED]
        claims = share_rows.claims_of(connection, {share.transfer_id for share in claimed})
    token_digests = {claim.share_id: claim.token_digest for claim in claims}
    found = {}
    for share in claimed:
        with suppress(ValueError, KeyError):  # an expiry that no entry has; a claimed share without its claim
            found[EntryName(share.transfer_id, share.expires_at, share.id)] = token_digests[share.id]
    return found


def _record(resources: Resources, name: EntryName, token_digest: bytes) -> bool:
    if resources.vault.claim_recorded(name.of_claim) is not None:
        return False
    try:
        return same(resources.vault.record_claim(name.of_claim, token_digest), token_digest)
    except KeyGone:  # it ended meanwhile
        return False
