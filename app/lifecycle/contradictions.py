"""Find contradictions between the rows of one transfer, its log entries and the key vault. Pure: performs no I/O.

An attacker who can write to the database can change any row, but not the hashes of the log entries or the names in the
vault. Each contradiction is one of the codes listed in docs/deletion.md. Rows and entries are written in the same
transaction, so they agree exactly. The vault is written after them, so a row may be ahead of the vault after a crash
or for a moment. That is no contradiction, except for an open claim that is not recorded within a minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.crypto.chunked import sealed_size
from app.crypto.stretching import Argon2Parameters
from app.db.share_rows import ClaimRow, ShareRow, hashing_of
from app.db.whole_transfers import WholeTransfer
from app.domain.access_token import actor_of
from app.domain.audit_events import owner_digest
from app.domain.claim import allowance_bytes
from app.domain.share import OPEN_STATES as OPEN_SHARES
from app.domain.share import ShareState
from app.domain.testimony import AttestedShare, Testimony
from app.domain.transfer import OPEN_STATES, FileState, TransferState
from app.domain.vault_entry import EntryName

SLACK = timedelta(minutes=1)
"""Tolerance for two clock readings within one request, and for a lease renewed during the comparison."""

LOOKED_AT_WITHIN = timedelta(minutes=10)
"""Latest acceptable due time. The sweeper retries ended transfers within 5 minutes, however often they failed."""


@dataclass(frozen=True, slots=True)
class VaultSight:
    """Vault entries observed for a transfer, and the recorded claim token digests (32 bytes) by share id."""

    names: frozenset[EntryName] = frozenset()
    claims: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """Time of the comparison, the Argon2 parameters in force, and whether the log is unpruned."""

    now: datetime
    hashing: Argon2Parameters
    log_is_whole: bool = True


def is_hidden_end(whole: WholeTransfer, testimony: Testimony, due: datetime) -> bool:
    """Return whether an open transfer has ended according to the log but not its row."""
    row, end = whole.transfer, testimony.ends_at
    return row.state in OPEN_STATES and end is not None and end <= due < row.expires_at


def names_to_look_for(whole: WholeTransfer, testimony: Testimony) -> set[EntryName]:
    """Return every vault entry that the rows or the log name, including claim records."""
    transfer_id = whole.transfer.id
    shares = {share.id for share in whole.shares} | testimony.shares.keys()
    ends = [whole.transfer.expires_at, testimony.expires_at, *(share.expires_at for share in whole.shares)]
    ends += [share.expires_at for share in testimony.shares.values()]
    names = set[EntryName]()
    for end in {end for end in ends if end is not None}:
        for share_id in (None, *shares):
            with suppress(ValueError, TypeError):  # an altered row may form no valid name
                name = EntryName(transfer_id, end, share_id)
                names |= {name} if share_id is None else {name, name.of_claim}
    return names


def judge(whole: WholeTransfer, testimony: Testimony, sight: VaultSight, moment: Moment) -> set[str]:
    """Return all contradictions of one transfer, including values of the wrong type (SQLite accepts any)."""
    if whole.transfer.state == TransferState.VERIFIED:
        return set(_verified(whole, testimony, sight, moment))
    words = judge_facts(whole, testimony)
    if testimony.created is None:
        return words
    try:
        words |= {*_states(whole, testimony), *_schedule(whole, moment), *_shares(whole, testimony, sight)}
        words |= {*_claims(whole, testimony, sight, moment), *_vault(whole, sight), *_hashing(whole, moment)}
    except (TypeError, ValueError, OverflowError):
        words.add("unreadable")
    return words


def judge_facts(whole: WholeTransfer, testimony: Testimony) -> set[str]:
    """Return contradictions in the files, the owner and the expiry of a transfer, which are all that a sweep needs."""
    words = set[str]()
    if testimony.altered:
        words.add("entry_altered")
    if testimony.mistimed:
        words.add("entry_time")
    if testimony.repeated:
        words.add("entry_repeated")
    if testimony.created is None:
        words.add("entry_missing")
        return words
    try:
        return words | {*_transfer(whole, testimony), *_files(whole, testimony), *_expiries(whole, testimony)}
    except (TypeError, ValueError, OverflowError):
        return words | {"unreadable"}


def _verified(whole: WholeTransfer, testimony: Testimony, sight: VaultSight, moment: Moment) -> Iterator[str]:
    """Check a deleted transfer: its deletion was observed, at the time in its row, and no key is left."""
    if sight.names:
        yield "key_left"
    if not testimony.entries:
        if moment.log_is_whole:
            yield "entry_missing"
    elif testimony.state != TransferState.VERIFIED:
        yield "state"
    elif whole.transfer.verified_at != testimony.state_at:
        yield "times"


def _transfer(whole: WholeTransfer, testimony: Testimony) -> Iterator[str]:
    row, logged = whole.transfer, testimony.created or {}
    for word, stored in (("sealed", row.sealed), ("purpose", row.purpose), ("records", row.records)):
        if stored != logged.get(word):
            yield word
    two_depositors = row.token_id is not None and row.person is not None
    actor = actor_of(row.token_id, row.person)
    if two_depositors or logged.get("actor") != actor or not _is_owner(row.owner, logged):
        yield "owner"
    if row.created_at != testimony.created_at:
        yield "times"


def _is_owner(owner: object, logged: Mapping[str, Any]) -> bool:
    """Return whether `transfer.created` names this owner. In older entries the depositing token is the owner."""
    if "owner" not in logged:
        return owner == logged.get("actor")
    return isinstance(owner, str) and owner_digest(owner, logged["salt"]) == logged["owner"]


def _expiries(whole: WholeTransfer, testimony: Testimony) -> Iterator[str]:
    every = {whole.transfer.expires_at, *(share.expires_at for share in whole.shares)}
    logged_ends = {share.expires_at for share in testimony.shares.values()}
    if every | logged_ends != {testimony.expires_at}:  # shares end with their transfer
        yield "expiry"


def _files(whole: WholeTransfer, testimony: Testimony) -> Iterator[str]:
    live = {file.number: file for file in whole.files if file.state == FileState.LIVE}
    if live.keys() != testimony.files.keys():
        yield "files"
        return
    for number, logged in testimony.files.items():
        row = live[number]
        if (row.size, row.sealed_size) != (logged.size, sealed_size(logged.size)) or logged.blob not in {
            None,
            row.blob_id,
        }:
            yield "files"


def _states(whole: WholeTransfer, testimony: Testimony) -> Iterator[str]:
    row = whole.transfer
    if row.state != testimony.state or (testimony.denied_at is not None and row.ending != testimony.ending):
        yield "state"
    if row.verified_at is not None or row.denied_at != testimony.denied_at or row.closed_at != testimony.closed_at:
        yield "times"


def _schedule(whole: WholeTransfer, moment: Moment) -> Iterator[str]:
    """Check the next due time. Every upload has a lease, which a live upload renews long before it expires."""
    row = whole.transfer
    claimed = {share.id for share in whole.shares if share.state == ShareState.CLAIMED}
    ends = [row.expires_at, *(claim.window_until for claim in whole.claims if claim.share_id in claimed)]
    ends += [file.lease_until for file in whole.files if file.lease_until is not None]
    latest = max(min(ends), moment.now) if row.state in OPEN_STATES else moment.now
    if row.due_at is None or row.due_at > latest + LOOKED_AT_WITHIN:
        yield "due"
    if any(file.state == FileState.RECEIVING and file.lease_until is None for file in whole.files):
        yield "files"
    leases = {file.state: file.lease_until for file in whole.files if file.lease_until is not None}
    if FileState.LIVE in leases or any(lease > moment.now + SLACK for lease in leases.values()):
        yield "files"


def _shares(whole: WholeTransfer, testimony: Testimony, sight: VaultSight) -> Iterator[str]:
    rows = {share.id: share for share in whole.shares}
    if rows.keys() != testimony.shares.keys():
        yield "shares"
    for share_id in rows.keys() & testimony.shares.keys():
        yield from _share(rows[share_id], testimony.shares[share_id], sight)


def _share(row: ShareRow, logged: AttestedShare, sight: VaultSight) -> Iterator[str]:
    unclaimed = row.state in {ShareState.PREPARED, ShareState.ISSUED}
    if row.state != logged.state or (unclaimed and row.id in sight.claims):
        yield "share_state"
    near = _agrees(row.used_at, logged.claimed_at) and _agrees(row.keys_destroyed_at, logged.keys_destroyed_at)
    if row.issued_at != logged.issued_at or row.ended_at != logged.ended_at or not near:
        yield "share_times"
    if row.failures < logged.wrong_passwords or row.attempts < row.failures:
        yield "attempts"
    if row.keys_destroyed_at is not None and EntryName(row.transfer_id, row.expires_at, row.id) in sight.names:
        yield "key_left"


def _hashing(whole: WholeTransfer, moment: Moment) -> Iterator[str]:
    for parameters in (hashing_of(share) for share in whole.shares):
        if parameters is None or parameters.exceeds(moment.hashing):
            yield "hashing"


def _agrees(stored: datetime | None, logged: datetime | None) -> bool:
    if stored is None or logged is None:
        return stored is logged
    return abs(stored - logged) <= SLACK


def _claims(whole: WholeTransfer, testimony: Testimony, sight: VaultSight, moment: Moment) -> Iterator[str]:
    rows = {claim.share_id: claim for claim in whole.claims}
    claimed = {share_id for share_id, share in testimony.shares.items() if share.claim is not None}
    if rows.keys() != claimed or sight.claims.keys() - rows.keys():
        yield "claims"
    expected = allowance_bytes([sealed_size(file.size) for file in testimony.files.values()])
    states = {share.id: share.state for share in whole.shares}
    for share_id in rows.keys() & claimed:
        yield from _claim(rows[share_id], testimony.shares[share_id], sight)
        if rows[share_id].allowance != expected:
            yield "allowance"
        if _is_unrecorded(rows[share_id], states.get(share_id), sight, moment):
            yield "claim_unrecorded"
        # Any window up to the expiry is valid: the claim may have begun under another CADUCEE_CLAIM_WINDOW.
        if states.get(share_id) == ShareState.CLAIMED and rows[share_id].window_until > whole.transfer.expires_at:
            yield "window"


def _is_unrecorded(row: ClaimRow, state: ShareState | None, sight: VaultSight, moment: Moment) -> bool:
    """Return whether an open claim has no record, because the vault failed to write it or lost it.

    A claim whose key the purge removed does not count: the purge removes the record too.
    """
    keyed = any(name.share_id == row.share_id and not name.claimed for name in sight.names)
    unrecorded = state == ShareState.CLAIMED and keyed and row.share_id not in sight.claims
    return unrecorded and moment.now > row.claimed_at + SLACK


def _claim(row: ClaimRow, logged: AttestedShare, sight: VaultSight) -> Iterator[str]:
    if row.id != logged.claim or row.claimed_at != logged.claimed_at or min(row.bytes_served, row.bytes_reserved) < 0:
        yield "claims"
    if sight.claims.get(row.share_id, row.token_digest) != row.token_digest:
        yield "claim_token"


def _vault(whole: WholeTransfer, sight: VaultSight) -> Iterator[str]:
    """Check for keys under an expiry other than the row's, and for keys of transfers recorded as having none."""
    if any(name.expires_at != whole.transfer.expires_at for name in sight.names):
        yield "expiry"
    if whole.transfer.state in {TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED} and sight.names:
        yield "key_left"


def judge_name(name: EntryName, whole: WholeTransfer | None) -> set[str]:
    """Return contradictions between one vault entry and the rows; `whole` is None if the transfer has no row."""
    if whole is None:
        return {"row_missing"}
    if whole.transfer.state == TransferState.VERIFIED:
        return {"key_left"}
    words = set[str]()
    if name.expires_at != whole.transfer.expires_at:
        words.add("expiry")
    share = next((share for share in whole.shares if share.id == name.share_id), None)
    if name.share_id is not None and share is None:
        words.add("shares")
    if share is not None and not name.claimed and share.state not in OPEN_SHARES and share.keys_destroyed_at:
        words.add("key_left")
    return words
