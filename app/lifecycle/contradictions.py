"""What in the rows of one transfer contradicts the log's entries and the key vault. Pure: nothing is read here.

Whoever writes to the database can make a row say anything; neither the entries' hashes nor the vault's names follow.
Each contradiction is one of the words below (docs/deletion.md lists them). Rows and entries are written in the same
transaction, so that they agree exactly. The vault is written after them: a row that says more than the vault does is
a crash or a moment, and no contradiction, but for an open claim that is not recorded within a minute.
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
"""Two readings of the clock within one request, and a lease that is renewed meanwhile."""

LOOKED_AT_WITHIN = timedelta(minutes=10)
"""The sweeper looks again at what has ended within 5 minutes, however often it failed."""


@dataclass(frozen=True, slots=True)
class VaultSight:
    """What the vault was seen to hold of a transfer, and the token digests (32 bytes) recorded by share."""

    names: frozenset[EntryName] = frozenset()
    claims: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """As of when, what passwords are stretched with, and whether no entry of the log was pruned."""

    now: datetime
    hashing: Argon2Parameters
    log_is_whole: bool = True


def is_hidden_end(whole: WholeTransfer, told: Testimony, due: datetime) -> bool:
    """Whether an open transfer has ended by the log and not by its row."""
    row, end = whole.transfer, told.ends_at
    return row.state in OPEN_STATES and end is not None and end <= due < row.expires_at


def names_to_look_for(whole: WholeTransfer, told: Testimony) -> set[EntryName]:
    """Every entry of the vault that row or log name, the records of claims among them."""
    transfer_id = whole.transfer.id
    shares = {share.id for share in whole.shares} | told.shares.keys()
    ends = [whole.transfer.expires_at, told.expires_at, *(share.expires_at for share in whole.shares)]
    ends += [share.expires_at for share in told.shares.values()]
    names = set[EntryName]()
    for end in {end for end in ends if end is not None}:
        for share_id in (None, *shares):
            with suppress(ValueError, TypeError):  # a row that was changed names what is no entry of a vault
                name = EntryName(transfer_id, end, share_id)
                names |= {name} if share_id is None else {name, name.of_claim}
    return names


def judge(whole: WholeTransfer, told: Testimony, sight: VaultSight, moment: Moment) -> set[str]:
    """All contradictions of one transfer. A value that no column should hold (SQLite takes any) is one, too."""
    if whole.transfer.state == TransferState.VERIFIED:
        return set(_verified(whole, told, sight, moment))
    words = judge_facts(whole, told)
    if told.created is None:
        return words
    try:
        words |= {*_states(whole, told), *_schedule(whole, moment), *_shares(whole, told, sight)}
        words |= {*_claims(whole, told, sight, moment), *_vault(whole, sight), *_hashing(whole, moment)}
    except (TypeError, ValueError, OverflowError):
        words.add("unreadable")
    return words


def judge_facts(whole: WholeTransfer, told: Testimony) -> set[str]:
    """Contradictions in what was handed over, by whom and until when: all that a sweep needs."""
    words = set[str]()
    if told.altered:
        words.add("entry_altered")
    if told.mistimed:
        words.add("entry_time")
    if told.repeated:
        words.add("entry_repeated")
    if told.created is None:
        words.add("entry_missing")
        return words
    try:
        return words | {*_transfer(whole, told), *_files(whole, told), *_expiries(whole, told)}
    except (TypeError, ValueError, OverflowError):
        return words | {"unreadable"}


def _verified(whole: WholeTransfer, told: Testimony, sight: VaultSight, moment: Moment) -> Iterator[str]:
    """Of what is gone only that is attested: it was observed, at that time, and nothing is left."""
    if sight.names:
        yield "key_left"
    if not told.entries:
        if moment.log_is_whole:
            yield "entry_missing"
    elif told.state != TransferState.VERIFIED:
        yield "state"
    elif whole.transfer.verified_at != told.state_at:
        yield "times"


def _transfer(whole: WholeTransfer, told: Testimony) -> Iterator[str]:
    row, said = whole.transfer, told.created or {}
    for word, stored in (("sealed", row.sealed), ("purpose", row.purpose), ("records", row.records)):
        if stored != said.get(word):
            yield word
    if said.get("actor") != actor_of(row.token_id) or not _is_owner(row.owner, said):
        yield "owner"
    if row.created_at != told.created_at:
        yield "times"


def _is_owner(owner: object, said: Mapping[str, Any]) -> bool:
    """Whether `transfer.created` names this owner. Before entries named one, it was the token that deposited."""
    if "owner" not in said:
        return owner == said.get("actor")
    return isinstance(owner, str) and owner_digest(owner, said["salt"]) == said["owner"]


def _expiries(whole: WholeTransfer, told: Testimony) -> Iterator[str]:
    every = {whole.transfer.expires_at, *(share.expires_at for share in whole.shares)}
    told_ends = {share.expires_at for share in told.shares.values()}
    if every | told_ends != {told.expires_at}:  # shares end with their transfer
        yield "expiry"


def _files(whole: WholeTransfer, told: Testimony) -> Iterator[str]:
    live = {file.number: file for file in whole.files if file.state == FileState.LIVE}
    if live.keys() != told.files.keys():
        yield "files"
        return
    for number, said in told.files.items():
        row = live[number]
        if (row.size, row.sealed_size) != (said.size, sealed_size(said.size)) or said.blob not in {None, row.blob_id}:
            yield "files"


def _states(whole: WholeTransfer, told: Testimony) -> Iterator[str]:
    row = whole.transfer
    if row.state != told.state or (told.denied_at is not None and row.ending != told.ending):
        yield "state"
    if row.verified_at is not None or row.denied_at != told.denied_at or row.closed_at != told.closed_at:
        yield "times"


def _schedule(whole: WholeTransfer, moment: Moment) -> Iterator[str]:
    """When the sweeper looks next. Every upload has a lease; one that is kept up is renewed long before it ends."""
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


def _shares(whole: WholeTransfer, told: Testimony, sight: VaultSight) -> Iterator[str]:
    rows = {share.id: share for share in whole.shares}
    if rows.keys() != told.shares.keys():
        yield "shares"
    for share_id in rows.keys() & told.shares.keys():
        yield from _share(rows[share_id], told.shares[share_id], sight)


def _share(row: ShareRow, said: AttestedShare, sight: VaultSight) -> Iterator[str]:
    unclaimed = row.state in {ShareState.PREPARED, ShareState.ISSUED}
    if row.state != said.state or (unclaimed and row.id in sight.claims):
        yield "share_state"
    if row.issued_at != said.issued_at or row.ended_at != said.ended_at or not _agrees(row.used_at, said.claimed_at):
        yield "share_times"
    if row.failures < said.wrong_passwords or row.attempts < row.failures:
        yield "attempts"
    if row.keys_destroyed_at is not None and EntryName(row.transfer_id, row.expires_at, row.id) in sight.names:
        yield "key_left"


def _hashing(whole: WholeTransfer, moment: Moment) -> Iterator[str]:
    for parameters in (hashing_of(share) for share in whole.shares):
        if parameters is None or parameters.exceeds(moment.hashing):
            yield "hashing"


def _agrees(stored: datetime | None, said: datetime | None) -> bool:
    if stored is None or said is None:
        return stored is said
    return abs(stored - said) <= SLACK


def _claims(whole: WholeTransfer, told: Testimony, sight: VaultSight, moment: Moment) -> Iterator[str]:
    rows = {claim.share_id: claim for claim in whole.claims}
    claimed = {share_id for share_id, share in told.shares.items() if share.claim is not None}
    if rows.keys() != claimed or sight.claims.keys() - rows.keys():
        yield "claims"
    expected = allowance_bytes([sealed_size(file.size) for file in told.files.values()])
    states = {share.id: share.state for share in whole.shares}
    for share_id in rows.keys() & claimed:
        yield from _claim(rows[share_id], told.shares[share_id], sight)
        if rows[share_id].allowance != expected:
            yield "allowance"
        if _is_unrecorded(rows[share_id], states.get(share_id), sight, moment):
            yield "claim_unrecorded"
        # Up to the expiry any length is right: the claim may have begun under another CADUCEE_CLAIM_WINDOW.
        if states.get(share_id) == ShareState.CLAIMED and rows[share_id].window_until > whole.transfer.expires_at:
            yield "window"


def _is_unrecorded(row: ClaimRow, state: ShareState | None, sight: VaultSight, moment: Moment) -> bool:
    """Whether an open claim has no record: the vault could not keep it, or lost it. The purge takes it with the key."""
    keyed = any(name.share_id == row.share_id and not name.claimed for name in sight.names)
    unrecorded = state == ShareState.CLAIMED and keyed and row.share_id not in sight.claims
    return unrecorded and moment.now > row.claimed_at + SLACK


def _claim(row: ClaimRow, said: AttestedShare, sight: VaultSight) -> Iterator[str]:
    if row.id != said.claim or row.claimed_at != said.claimed_at or min(row.bytes_served, row.bytes_reserved) < 0:
        yield "claims"
    if sight.claims.get(row.share_id, row.token_digest) != row.token_digest:
        yield "claim_token"


def _vault(whole: WholeTransfer, sight: VaultSight) -> Iterator[str]:
    """A key under another expiry than the row's, and keys of what is said to have none."""
    if any(name.expires_at != whole.transfer.expires_at for name in sight.names):
        yield "expiry"
    if whole.transfer.state in {TransferState.KEYS_DESTROYED, TransferState.BYTES_DELETED} and sight.names:
        yield "key_left"


def judge_name(name: EntryName, whole: WholeTransfer | None) -> set[str]:
    """Contradictions between one entry of the vault and the rows; None: the database knows no such transfer."""
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
