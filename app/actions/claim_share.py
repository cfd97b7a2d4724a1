"""Step 5 of a file's life: redeem a share, once, with the link and the password.

The steps, cheapest checks first:
1. the link proof, else 404 (the same for an unknown id and a wrong proof); 2. the share's state, else 410; 3. the
password's form, else 400; 4. a turn in the hashing queue, else 503; 5. an attempt, reserved before hashing; 6. Argon2
and the verifier, else 401, and after the last attempt the share ends; 7. the vault's keys and the unwrapping, which
hold even if an earlier check is bypassed; 8. one conditional UPDATE, which decides the winner, and the log, which must
name no other claim; 9. the vault's record of the claim, which holds against an attacker who can write to the database.

`claimable_share.py` has steps 1 and 2, and `password_attempts.py` counts the attempts; both in `app/lifecycle/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import structlog

from app.crypto import chunked, wrapping
from app.crypto.encoding import encode
from app.crypto.errors import MalformedSecret
from app.crypto.password import normalise
from app.crypto.stretching import Argon2Parameters
from app.crypto.token import digest, new_secret, same
from app.db import share_rows, transfer_rows
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.domain import share as share_rules
from app.domain.audit_events import Entry, Event
from app.domain.claim import allowance_bytes, window_end
from app.domain.errors import (
    Busy,
    ClaimEnded,
    ClaimNotFound,
    MalformedPassword,
    ShareExpired,
    VaultOutOfReach,
    WrongPassword,
)
from app.domain.file_meta import FileMeta
from app.domain.party import party_of
from app.lifecycle import claim_record, key_ring, withdrawal
from app.lifecycle.claimable_share import FoundShare, LinkAndPassword, find_claimable, won_meanwhile
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.password_attempts import count_wrong, reserve_attempt, return_attempt
from app.lifecycle.secret_lookup import note_link_seen
from app.runtime.fault_points import reach
from app.runtime.resources import Resources

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, repr=False)
class ClaimedFile:
    """A file as shown to the recipient; for a claim by proof `meta` is None and the name stays in `sealed_meta`."""

    number: int
    size: int
    sealed_size: int
    meta: FileMeta | None
    sealed_meta: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True, repr=False)
class Claimed:
    """A claim that was won, or repeated by its winner."""

    claim_id: str
    token: bytes
    transfer_id: str
    expires_at: datetime
    files: list[ClaimedFile]
    server_part: bytes | None
    wrapped_key: bytes | None


async def claim_share(resources: Resources, share_id: str, presented: LinkAndPassword) -> Claimed:
    """Claim a share. Raises ShareNotFound, ShareUsed and the other ends, MalformedPassword, Busy, WrongPassword,
    TransferIsSealed, VaultOutOfReach, ClientGone. The share is redeemed only if this returns, or if the vault could not
    record the claim; then VaultOutOfReach carries the token with which the recipient can claim again.
    """
    found = await resources.in_thread(find_claimable, resources, share_id, presented)
    try:
        password = normalise(presented.password)
    except MalformedSecret:
        await resources.in_thread(note_link_seen, resources, found.share)
        raise MalformedPassword from None
    if repeated := await resources.in_thread(_repeated, resources, found, presented, password):
        return repeated
    return await _hash_and_judge(resources, share_id, presented, password)


async def _hash_and_judge(resources: Resources, share_id: str, presented: LinkAndPassword, password: str) -> Claimed:
    """Steps 4 to 9. A repeated claim waits for the first one, which then answers it."""
    async with resources.claiming.paced(share_id, at_once=1):
        async with resources.claiming.turn(party_of(presented.address)):
            # Another request may have won while this one waited; check again before hashing.
            found = await resources.in_thread(find_claimable, resources, share_id, presented)
            if repeated := await resources.in_thread(_repeated, resources, found, presented, password):
                return repeated
            parameters = _parameters(resources, found.share)
            await resources.in_thread(reserve_attempt, resources, found, presented)
            reach("claim.attempt_reserved")
            stretched = await _stretch(resources, found.share, password, parameters)
        claimed = await resources.in_thread(_judge_or_name_why, resources, found, presented, stretched)
        resources.proved_claims.add(share_id, claimed.token, password)
        return claimed


def _repeated(resources: Resources, found: FoundShare, presented: LinkAndPassword, password: str) -> Claimed | None:
    """Return the claim again to its winner, by its own record and without hashing, if this process has found the same
    password right before; None for any other claim, or one by proof, whose answer depends on the stretched password.
    """
    claim, token, share = found.claim, presented.token, found.share
    if claim is None or token is None or claim.by_proof:
        return None
    if not resources.proved_claims.has(share.id, token, password):
        return None
    if not claim_record.require_unclaimed(resources.vault, share, token):
        return None  # its first request died before the vault recorded it
    try:
        transfer_key = key_ring.open_for_claim(resources.vault, share, claim, token, resources.clock.now())
    except (ClaimNotFound, ClaimEnded):  # the steps of a first claim say why
        return None
    return Claimed(
        claim_id=claim.id,
        token=token,
        transfer_id=share.transfer_id,
        expires_at=share.expires_at,
        files=[_open_file(file, transfer_key) for file in found.files],
        server_part=None,
        wrapped_key=None,
    )


def _parameters(resources: Resources, share: ShareRow) -> Argon2Parameters:
    """Return the Argon2 parameters of the share. Raises Busy, with an alert, if an altered row holds invalid or
    excessive ones, which would delay other claims or exhaust memory.
    """
    parameters = share_rows.hashing_of(share)
    if parameters is None or parameters.exceeds(resources.settings.argon2):
        log.error("row_contradicts_witness", transfers=[share.transfer_id], count=1, what=["hashing"], alert=True)
        raise Busy
    return parameters


async def _stretch(resources: Resources, share: ShareRow, password: str, parameters: Argon2Parameters) -> bytes:
    """Step 6: run Argon2. Raises Busy if it fails, and returns the attempt."""
    try:
        return await resources.claiming.stretch(password, share.argon2_salt, parameters)
    except Exception as error:  # most likely out of memory; a failure of the service costs no attempt
        await resources.in_thread(return_attempt, resources, share)
        raise Busy from error


def _judge_or_name_why(
    resources: Resources, found: FoundShare, presented: LinkAndPassword, stretched: bytes
) -> Claimed:
    with withdrawal.named(resources, found.share.id):
        return _judge(resources, found, presented, stretched)


def _judge(resources: Resources, found: FoundShare, presented: LinkAndPassword, stretched: bytes) -> Claimed:
    """Steps 6 to 9: verify the password, open the keys, win the claim and record it."""
    share, now = found.share, resources.clock.now()
    try:
        if not same(digest(wrapping.verifier(stretched, share.id)), share.verifier_digest):
            raise WrongPassword  # noqa: TRY301 - counted below, with what the unwrapping refuses
        server_part = key_ring.server_part(resources.vault, share, stretched, now)
        transfer_key = None
        if presented.link_secret is not None:
            transfer_key = key_ring.open_for_share(share, presented.link_secret, server_part)
        files = [_open_file(file, transfer_key) for file in found.files]
        reach("claim.key_opened")
        claim_id, token = _win(resources, found, presented, transfer_key, now)
        reach("claim.won")
    except WrongPassword:
        raise count_wrong(resources, share, presented.address, now) from None
    except BaseException:
        return_attempt(resources, share)
        raise
    _record(resources, share, claim_id=claim_id, token=token, chosen=presented.token is not None)
    return Claimed(
        claim_id=claim_id,
        token=token,
        transfer_id=share.transfer_id,
        expires_at=share.expires_at,
        files=files,
        server_part=server_part if transfer_key is None else None,
        wrapped_key=share.wrapped_key if transfer_key is None else None,
    )


def _win(
    resources: Resources, found: FoundShare, presented: LinkAndPassword, transfer_key: bytes | None, now: datetime
) -> tuple[str, bytes]:
    """Step 8: return the claim's id and token, won now or, for a repeated claim, earlier. If the vault has no record of
    a claim, the log decides whether there was one.
    """
    share, token = found.share, presented.token or new_secret()
    recorded = claim_record.require_unclaimed(resources.vault, share, presented.token)
    if found.claim is not None:
        _repeat(resources, share, found.claim, token, recorded=recorded)
        return found.claim.id, token
    claim = _new_claim(resources, found, token, transfer_key, now)
    with resources.database.writing() as transaction:
        connection = transaction.connection
        require_open_for_outflow(resources, connection)
        # Lock the transfer before the share, in the same order as code that ends them.
        transfer_rows.find(connection, share.transfer_id, for_update=True)
        presented.reply.require_receiver()
        first = share_rows.claim(connection, claim, resources.clock.now())
        won = claim if first else won_meanwhile(resources, connection, found, presented)
        if won is None:
            current = share_rows.find(connection, share.id)
            raise (current and share_rules.refusal(current.state)) or ShareExpired()
        if not recorded:
            claim_record.require_unlogged(connection, share, token)
        share_rows.return_attempt(connection, share.id)
        if first:
            transfer_rows.bring_forward(connection, share.transfer_id, claim.window_until)
            transaction.log(
                Entry(
                    event=Event.SHARE_CLAIMED,
                    at=now,
                    actor="recipient",
                    transfer=share.transfer_id,
                    share=share.id,
                    claim=claim.id,
                    address=presented.address,
                )
            )
    return won.id, token


def _repeat(resources: Resources, share: ShareRow, claim: ClaimRow, token: bytes, *, recorded: bool) -> None:
    """Return the claim to its winner again. If the vault could not record the claim and its window is over in the row,
    the window begins now.
    """
    with resources.database.writing() as transaction:
        if not recorded:
            claim_record.require_unlogged(transaction.connection, share, token)
            share_rows.reopen_window(transaction.connection, claim.id, claim.window_until, resources.clock.now())
        share_rows.return_attempt(transaction.connection, share.id)


def _new_claim(
    resources: Resources, found: FoundShare, token: bytes, transfer_key: bytes | None, now: datetime
) -> ClaimRow:
    """Build the row of a claim with this token; without a transfer key, a claim by proof."""
    share = found.share
    claim_id, wrapped = claim_record.claim_id_of(share, token), None
    if transfer_key is not None:
        wrapped = key_ring.wrap_for_claim(
            resources.vault, share, claim_id=claim_id, token=token, transfer_key=transfer_key, now=now
        )
    return ClaimRow(
        id=claim_id,
        share_id=share.id,
        transfer_id=share.transfer_id,
        token_digest=digest(token),
        by_proof=transfer_key is None,
        wrapped_key=wrapped,
        claimed_at=now,
        window_until=window_end(now, resources.settings.claim_window, share.expires_at),
        allowance=allowance_bytes([file.sealed_size for file in found.files]),
        bytes_served=0,
        delivered_at=None,
    )


def _record(resources: Resources, share: ShareRow, *, claim_id: str, token: bytes, chosen: bool) -> None:
    """Step 9: record the claim in the vault, also for a repeated claim, whose first process may have died before this.

    If the vault is out of reach and the client did not choose the token (`chosen` False), the refusal carries the
    token; otherwise the share would be lost.
    """
    try:
        claim_record.record_claim(resources.vault, share, token)
    except VaultOutOfReach as error:
        if chosen:
            raise
        raise VaultOutOfReach(
            "The share was claimed for you, but the key vault cannot be reached: claim it again with this claim_token.",
            claim_id=claim_id,
            claim_token=encode(token),
        ) from error
    reach("claim.recorded")


def _open_file(file: FileRow, transfer_key: bytes | None) -> ClaimedFile:
    """Return a file, with its name decrypted if the server has the transfer key."""
    sealed_meta = file.sealed_meta or b""
    meta = None
    if transfer_key is not None:
        context = chunked.meta_context(file.transfer_id, file.number)
        meta = FileMeta.from_json(chunked.open_sealed(transfer_key, context, sealed_meta))
    return ClaimedFile(file.number, file.size, file.sealed_size, meta, sealed_meta, file.created_at)
