"""Step 5 of a file's life: redeem a share, once, with the link and the password.

The steps, cheapest checks first:
1. the link proof, else 404 (the same for an unknown id and a wrong proof); 2. the share's state, else 410; 3. the
password's form, else 400; 4. a turn in the hashing queue, else 503; 5. an attempt, reserved before hashing; 6. Argon2
and the verifier, else 401, and after the last attempt the share ends; 7. the vault's keys and the unwrapping, which
hold even if an earlier check is bypassed; 8. one conditional UPDATE, which decides the winner, and the log, which must
name no other claim; 9. the vault's record of the claim, which holds against an attacker who can write to the database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection

from app.crypto import chunked, wrapping
from app.crypto.encoding import encode
from app.crypto.errors import MalformedSecret
from app.crypto.password import normalise
from app.crypto.stretching import Argon2Parameters
from app.crypto.token import digest, new_secret, same
from app.db import claim_windows, file_rows, share_rows, transfer_rows
from app.db.engine import Transaction
from app.db.file_rows import FileRow
from app.db.share_rows import ClaimRow, ShareRow
from app.domain import share as share_rules
from app.domain.audit_events import Entry, Event
from app.domain.claim import allowance_bytes, window_end
from app.domain.errors import (
    Busy,
    MalformedPassword,
    ShareExpired,
    ShareLocked,
    ShareNotFound,
    TransferIsSealed,
    VaultOutOfReach,
    WrongPassword,
)
from app.domain.file_meta import FileMeta
from app.domain.share import ShareState
from app.lifecycle import claim_record, endings, key_ring
from app.lifecycle.gate import require_open_for_outflow
from app.lifecycle.reply import LOCAL, Reply
from app.lifecycle.secret_lookup import find_by_proof, note_link_seen
from app.runtime.fault_points import reach
from app.runtime.resources import Resources

log = structlog.get_logger()


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


@dataclass(frozen=True, slots=True, repr=False)
class ClaimedFile:
    """A file as shown to the recipient; for a claim by proof `meta` is None and the name stays in `sealed_meta`."""

    number: int
    size: int
    sealed_size: int
    meta: FileMeta | None
    sealed_meta: bytes


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


@dataclass(frozen=True, slots=True)
class _Found:
    """The stored share with its files and claim, read in one transaction."""

    share: ShareRow
    files: list[FileRow]
    claim: ClaimRow | None
    sealed: bool


async def claim_share(resources: Resources, share_id: str, presented: LinkAndPassword) -> Claimed:
    """Claim a share. Raises ShareNotFound, ShareUsed and the other ends, MalformedPassword, Busy, WrongPassword,
    TransferIsSealed, VaultOutOfReach, ClientGone. The share is redeemed only if this returns, or if the vault could not
    record the claim; then VaultOutOfReach carries the token with which the recipient can claim again.
    """
    found = await resources.in_thread(_find, resources, share_id, presented)
    try:
        password = normalise(presented.password)
    except MalformedSecret:
        await resources.in_thread(note_link_seen, resources, found.share)
        raise MalformedPassword from None
    async with resources.claiming.turn():
        # Another request may have won while this one waited; check again before hashing.
        found = await resources.in_thread(_find, resources, share_id, presented)
        parameters = _parameters(resources, found.share)
        await resources.in_thread(_reserve_attempt, resources, found, presented)
        reach("claim.attempt_reserved")
        stretched = await _stretch(resources, found.share, password, parameters)
    return await resources.in_thread(_judge, resources, found, presented, stretched)


def _find(resources: Resources, share_id: str, presented: LinkAndPassword) -> _Found:
    """Steps 1 and 2: find the share and refuse it unless it can be claimed."""
    now = resources.clock.now()
    with resources.database.reading() as connection:
        require_open_for_outflow(resources, connection)
        share, transfer = find_by_proof(connection, share_id, presented.link_proof)
        files = file_rows.of_transfers(connection, [transfer.id])
        claim = _claim_of(resources, connection, share)
    found = _Found(share, files, claim, transfer.sealed)
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


def _is_repeated(found: _Found, presented: LinkAndPassword, now: datetime) -> bool:
    """Return whether the winner repeats its claim: with the same token, chosen by the client, within the window."""
    claim, token = found.claim, presented.token
    return (
        claim is not None
        and token is not None
        and same(digest(token), claim.token_digest)
        and now < claim.window_until
        and claim.by_proof == (presented.link_secret is None)
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
        await resources.in_thread(_return_attempt, resources, share)
        raise Busy from error


def _won_meanwhile(
    resources: Resources, connection: Connection, found: _Found, presented: LinkAndPassword
) -> ClaimRow | None:
    """Return the claim if another request of the same recipient won it, even while this one was running."""
    current = share_rows.find(connection, found.share.id)
    if current is None or current.state != ShareState.CLAIMED:
        return None
    found = replace(found, claim=_claim_of(resources, connection, current))
    return found.claim if _is_repeated(found, presented, resources.clock.now()) else None


def _reserve_attempt(resources: Resources, found: _Found, presented: LinkAndPassword) -> None:
    """Step 5: reserve an attempt. Raises Busy while all attempts are reserved but some are not yet judged. An attempt
    reserved over a minute ago died with its process and stays spent; if it was the last, the share is locked.
    """
    now = resources.clock.now()
    limit = resources.settings.password_attempts
    with resources.database.writing() as transaction:
        connection, share_id = transaction.connection, found.share.id
        if share_rows.reserve_attempt(connection, share_id, limit, now):
            return
        current = share_rows.find(connection, share_id)
        if current is None:
            raise ShareNotFound
        refusal = share_rules.refusal(current.state)
        redeemable = refusal is None or _won_meanwhile(resources, connection, found, presented) is not None
        if redeemable and _being_judged(current, limit, now):
            raise Busy
        if current.state != ShareState.ISSUED:
            raise refusal or ShareNotFound()
        keys = endings.end_share(transaction, current, ShareState.LOCKED, now=now, actor="system")
    resources.destroy_keys(keys)
    raise ShareLocked


def _being_judged(share: ShareRow, limit: int, now: datetime) -> bool:
    """Return whether an attempt may still succeed: not all were wrong, and the last was reserved recently."""
    recent = share.attempted_at is not None and now - share.attempted_at < share_rules.STALE_ATTEMPT
    return recent and share.failures < limit


def _judge(resources: Resources, found: _Found, presented: LinkAndPassword, stretched: bytes) -> Claimed:
    """Steps 6 to 9: verify the password, open the keys, win the claim and record it."""
    share, now = found.share, resources.clock.now()
    try:
        if not same(digest(wrapping.verifier(stretched, share.id)), share.verifier_digest):
            raise WrongPassword  # noqa: TRY301 - counted below, with what the unwrapping refuses
        server_part = key_ring.server_part(resources.vault, share, stretched, now)
        transfer_key = None
        if presented.link_secret is not None:
            transfer_key = key_ring.open_for_share(share, presented.link_secret, server_part)
        files = [_opened(file, transfer_key) for file in found.files]
        reach("claim.key_opened")
        claim_id, token = _win(resources, found, presented, transfer_key, now)
        reach("claim.won")
    except WrongPassword:
        raise _count_wrong(resources, share, presented.address, now) from None
    except BaseException:
        _return_attempt(resources, share)
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
    resources: Resources, found: _Found, presented: LinkAndPassword, transfer_key: bytes | None, now: datetime
) -> tuple[str, bytes]:
    """Step 8: return the claim's id and token, won now or, for a repeated claim, earlier. If the vault has no record of
    a claim, the log decides whether there was one.
    """
    share, token = found.share, presented.token or new_secret()
    recorded = claim_record.require_unclaimed(resources.vault, share, presented.token)
    if found.claim is not None:
        _go_on(resources, share, found.claim, token, recorded=recorded)
        return found.claim.id, token
    claim = _claim(resources, found, token, transfer_key, now)
    with resources.database.writing() as transaction:
        connection = transaction.connection
        require_open_for_outflow(resources, connection)
        _lock(transaction, share)
        presented.reply.require_receiver()
        first = share_rows.claim(connection, claim, resources.clock.now())
        won = claim if first else _won_meanwhile(resources, connection, found, presented)
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


def _go_on(resources: Resources, share: ShareRow, claim: ClaimRow, token: bytes, *, recorded: bool) -> None:
    """Return the claim to its winner again. If the vault could not record the claim and its window is over in the row,
    the window begins now.
    """
    with resources.database.writing() as transaction:
        if not recorded:
            claim_record.require_unlogged(transaction.connection, share, token)
            share_rows.reopen_window(transaction.connection, claim.id, claim.window_until, resources.clock.now())
        share_rows.return_attempt(transaction.connection, share.id)


def _claim(resources: Resources, found: _Found, token: bytes, transfer_key: bytes | None, now: datetime) -> ClaimRow:
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


def _count_wrong(resources: Resources, share: ShareRow, address: str, now: datetime) -> WrongPassword:
    """Count and log a wrong password, and lock the share after the last attempt. Return the refusal."""
    limit = resources.settings.password_attempts
    keys = []
    with resources.database.writing() as transaction:
        _lock(transaction, share)
        failures = share_rows.count_failure(transaction.connection, share.id)
        transaction.log(
            Entry(
                event=Event.PASSWORD_WRONG,
                at=now,
                actor="recipient",
                transfer=share.transfer_id,
                share=share.id,
                address=address,
                count=failures,
            )
        )
        current = share_rows.find(transaction.connection, share.id)
        if failures >= limit and current and current.state == ShareState.ISSUED:
            keys = endings.end_share(transaction, share, ShareState.LOCKED, now=now, actor="recipient", address=address)
    resources.destroy_keys(keys)
    attempts = current.attempts if current else limit
    return WrongPassword(attempts_left=max(0, limit - attempts))


def _lock(transaction: Transaction, share: ShareRow) -> None:
    """Lock the transfer before the share, in the same order as code that ends them, to avoid a deadlock."""
    transfer_rows.find(transaction.connection, share.transfer_id, for_update=True)


def _return_attempt(resources: Resources, share: ShareRow) -> None:
    with resources.database.writing() as transaction:
        share_rows.return_attempt(transaction.connection, share.id)


def _opened(file: FileRow, transfer_key: bytes | None) -> ClaimedFile:
    """Return a file, with its name decrypted if the server has the transfer key."""
    sealed_meta = file.sealed_meta or b""
    meta = None
    if transfer_key is not None:
        context = chunked.meta_context(file.transfer_id, file.number)
        meta = FileMeta.from_json(chunked.open_sealed(transfer_key, context, sealed_meta))
    return ClaimedFile(file.number, file.size, file.sealed_size, meta, sealed_meta)
