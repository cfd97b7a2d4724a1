"""Record the open claims in the vault, once, while upgrading a data folder from a version whose vault did not.

A claim without a record opens nothing. This is the last time that the database is trusted about claims. Never run it on
a database whose claims the vault already records: a forged claim row would get a record.
"""

from __future__ import annotations

from contextlib import suppress

from app.crypto.token import same
from app.db import share_rows
from app.domain.vault_entry import EntryName
from app.runtime.resources import Resources
from app.storage.errors import KeyGone


def record_open_claims(resources: Resources) -> int:
    """Record every open claim that has no record and whose keys the vault still holds. Return how many were recorded by
    this call. It may be repeated after an interruption. Damaged rows are skipped: their claims open nothing. Raises
    VaultUnavailable.
    """
    digests = _open_claims(resources)
    living = resources.vault.living(digests)
    return sum(_record(resources, name, digests[name]) for name in living)


def _open_claims(resources: Resources) -> dict[EntryName, bytes]:
    """Return the token digests (32 bytes) of all open claims, by the vault entry name of the share."""
    with resources.database.reading() as connection:
        claims = share_rows.open_claims(connection)
    found = {}
    for claim in claims:
        with suppress(ValueError):  # an altered row may form no valid entry name
            found[EntryName(claim.transfer_id, claim.expires_at, claim.share_id)] = claim.token_digest
    return found


def _record(resources: Resources, name: EntryName, token_digest: bytes) -> bool:
    if resources.vault.claim_recorded(name.of_claim) is not None:
        return False
    try:
        return same(resources.vault.record_claim(name.of_claim, token_digest), token_digest)
    except KeyGone:  # the share ended meanwhile
        return False
