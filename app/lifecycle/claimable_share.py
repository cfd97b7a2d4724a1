"""Steps 1 and 2 of a claim: find the share of a link, and refuse it unless it can be claimed, or was by this client."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from app.crypto import wrapping
from app.crypto.token import digest, same
from app.db import claim_windows, file_rows, share_rows
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.domain import share as share_rules
from app.domain.claim import window_end
from app.domain.errors import TransferIsSealed
from app.domain.share import ShareState
from app.lifecycle import claim_record
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.reply import LOCAL, Reply
from app.lifecycle.secret_lookup import find_by_proof
from app.runtime.resources import Resources


@dataclass(frozen=True, slots=True, repr=False)
class LinkAndPassword:
    """A recipient's credentials: the link secret, or only its proof if the client decrypts; the password; and an
    optional claim token chosen by the client, so that it can repeat the claim after a lost response. Secret, proof and
    token are 32 bytes each. `reply` is checked before the claim is won.
    """

    link_proof: bytes
    link_secret: bytes | None
    password: str
    token: bytes | None
    address: str
    reply: Reply = LOCAL

    @classmethod
    def by_secret(
        cls, secret: bytes, password: str, token: bytes | None, address: str, reply: Reply = LOCAL
    ) -> LinkAndPassword:
        """Build from the link secret, for decryption by the server."""
        return cls(wrapping.link_proof(secret), secret, password, token, address, reply)


@dataclass(frozen=True, slots=True)
class FoundShare:
    """The stored share with its files and claim, read in one transaction."""

    share: ShareRow
    files: list[FileRow]
    claim: ClaimRow | None
    sealed: bool


def find_claimable(resources: Resources, share_id: str, presented: LinkAndPassword) -> FoundShare:
    """Return the share that the link proof opens. Raises ShareNotFound, ShareUsed and the other ends, TransferIsSealed,
    VaultOutOfReach; also what `require_open_for_outflow` raises.
    """
    now = resources.clock.now()
    with resources.database.reading() as connection:
        require_open_for_outflow(resources, connection)
        share, transfer = find_by_proof(connection, share_id, presented.link_proof)
        files = file_rows.of_transfers(connection, [transfer.id])
        claim = _claim_of(resources, connection, share)
    found = FoundShare(share, files, claim, transfer.sealed)
    state = share_rules.state_shown(share.state, share.expires_at, now)
    if not (state == ShareState.CLAIMED and _is_repeated(found, presented, now)):
        refusal = share_rules.refusal(state)
        if refusal is not None:
            raise refusal
        found = replace(found, claim=None)  # never return a claim that another client won
    if transfer.sealed and presented.link_secret is not None:
        raise TransferIsSealed
    return found


def _claim_of(resources: Resources, connection: Connection, share: ShareRow) -> ClaimRow | None:
    """Return the claim of a share with its effective window, which has not begun if the vault could not record the
    claim. Raises VaultOutOfReach.
    """
    claim, now = share_rows.claim_of_share(connection, share.id), resources.clock.now()
    if claim is None:
        return None
    claim = claim_windows.with_refused(connection, claim, share.expires_at, now)
    over = share.state == ShareState.CLAIMED and claim.window_until <= now < share.expires_at
    if over and claim_record.is_unrecorded(resources.vault, share, claim):
        return replace(claim, window_until=window_end(now, resources.settings.claim_window, share.expires_at))
    return claim


def _is_repeated(found: FoundShare, presented: LinkAndPassword, now: datetime) -> bool:
    """Return whether the winner repeats its claim: with the same token, chosen by the client, within the window."""
    claim, token = found.claim, presented.token
    return (
        claim is not None
        and token is not None
        and same(digest(token), claim.token_digest)
        and now < claim.window_until
        and claim.by_proof == (presented.link_secret is None)
    )


def won_meanwhile(
    resources: Resources, connection: Connection, found: FoundShare, presented: LinkAndPassword
) -> ClaimRow | None:
    """Return the claim if another request of the same recipient won it, even while this one was running."""
    current = share_rows.find(connection, found.share.id)
    if current is None or current.state != ShareState.CLAIMED:
        return None
    found = replace(found, claim=_claim_of(resources, connection, current))
    return found.claim if _is_repeated(found, presented, resources.clock.now()) else None
