"""One transfer's account for the exposure report: what its log entries, read in order, mean for a period.

A transfer is *held* from its creation until its deletion was verified, and its *keys exist* from its creation until
their destruction was observed; both ends may be late by the sweep's lateness, never early.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.audit_events import Event
from app.domain.period import Period

Fields = Mapping[str, Any]

_SHARE_ENDINGS = {
    Event.SHARE_COMPLETED: "completed",
    Event.SHARE_LAPSED: "lapsed",
    Event.SHARE_WITHDRAWN: "withdrawn",
    Event.SHARE_LOCKED: "locked",
    Event.SHARE_EXPIRED: "expired",
}


@dataclass(slots=True)
class HeldTransfer:
    """A transfer that was held; `files`, `bytes` and `shares` as of the period's end. `created_at` is None if the
    creation entry was pruned; `keys_existed` is whether the keys existed at any moment of the period.
    """

    transfer: str
    depositor: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    purpose: str | None = None
    records: int | None = None
    sealed: bool = False
    files: int = 0
    bytes: int = 0
    shares: int = 0
    ended_at: datetime | None = None
    ending: str | None = None
    keys_existed: bool = True
    keys_destroyed_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(slots=True)
class SeenClaim:
    """A claim that was open in the period. `bytes`, `downloads` and `cut` count downloads that ended in the period;
    `bytes_in_all` covers the claim's whole life. `bytes_untold` is the upper bound of further bytes sent by downloads
    whose end was not logged because their process died. `addresses` lists every address that claimed or fetched.
    """

    transfer: str
    share: str
    claim: str
    claimed_at: datetime | None = None
    address: str | None = None
    addresses: list[str] = field(default_factory=list)
    downloads: int = 0
    cut: int = 0
    bytes: int = 0
    bytes_in_all: int = 0
    bytes_counted: int = 0
    bytes_untold: int = 0
    ended_at: datetime | None = None
    ending: str | None = None


@dataclass(slots=True)
class WrongPasswords:
    """Wrong passwords from one address for one share, in the period."""

    transfer: str
    share: str
    address: str | None
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(slots=True)
class SeenDeletion:
    """A deletion that was verified in the period."""

    transfer: str
    at: datetime
    ending: str | None
    files: int
    bytes: int
    lateness_ms: int


@dataclass(slots=True)
class FailedDeletion:
    """The first failure of a deletion step, if it lies in the period; the step was retried."""

    transfer: str
    at: datetime
    what: str | None


class TransferAccount:
    """Accumulates one transfer's entries, added in order, as far as they matter to a period."""

    def __init__(self, transfer: str, period: Period) -> None:
        """Start with no entries."""
        self.held = HeldTransfer(transfer)
        self.claims: dict[str, SeenClaim] = {}
        self.wrong: dict[tuple[str, str | None], WrongPasswords] = {}
        self.deletion: SeenDeletion | None = None
        self.failures: list[FailedDeletion] = []
        self._period = period

    def add(self, event: str, at: datetime, fields: Fields) -> None:
        """Add one entry."""
        if event in {Event.TRANSFER_CREATED, Event.FILE_DEPOSITED, Event.SHARE_ISSUED}:
            self._add_deposit(event, at, fields)
        elif event in {Event.SHARE_CLAIMED, Event.FILE_FETCHED}:
            self._add_claim(event, at, fields)
        elif event == Event.PASSWORD_WRONG and at in self._period:
            self._add_wrong(at, fields)
        elif event in _SHARE_ENDINGS:
            for claim in (claim for claim in self.claims.values() if claim.share == fields["share"]):
                claim.ended_at, claim.ending = at, _SHARE_ENDINGS[Event(event)]
                claim.bytes_untold = max(0, fields.get("size", 0) - claim.bytes_counted)
        else:
            self._add_ending(event, at, fields)

    def _add_deposit(self, event: str, at: datetime, fields: Fields) -> None:
        held, before_its_end = self.held, at < self._period.until
        if event == Event.TRANSFER_CREATED:
            held.depositor, held.created_at = fields["actor"], at
            held.expires_at = datetime.fromisoformat(fields["expires_at"])
            held.purpose, held.records = fields.get("purpose"), fields.get("records")
            held.sealed = bool(fields.get("sealed"))
        elif event == Event.FILE_DEPOSITED and before_its_end:
            held.files += 1
            held.bytes += fields["size"]
        elif before_its_end:
            held.shares += 1

    def _add_claim(self, event: str, at: datetime, fields: Fields) -> None:
        claim_id, address = fields["claim"], fields.get("address")
        claim = self.claims.setdefault(claim_id, SeenClaim(self.held.transfer, fields["share"], claim_id))
        if event == Event.SHARE_CLAIMED:
            claim.claimed_at, claim.address = at, address
        else:
            counted = fields.get("acknowledged", fields["size"])  # what the claim's row counts
            claim.bytes_in_all += fields["size"]
            claim.bytes_counted += counted
            claim.bytes_untold = max(0, claim.bytes_untold - counted)  # a download that outlived the share
            if at in self._period:
                claim.downloads += fields.get("count", 1)
                claim.cut += fields.get("cut", int(fields["outcome"] == "cut"))
                claim.bytes += fields["size"]
        if address is not None and address not in claim.addresses:
            claim.addresses.append(address)

    def _add_wrong(self, at: datetime, fields: Fields) -> None:
        share, address = fields["share"], fields.get("address")
        seen = self.wrong.setdefault((share, address), WrongPasswords(self.held.transfer, share, address, 0, at, at))
        seen.count += 1
        seen.last_at = at

    def _add_ending(self, event: str, at: datetime, fields: Fields) -> None:
        held = self.held
        if event == Event.TRANSFER_DENIED:
            held.ended_at, held.ending = at, fields["outcome"]
        elif event == Event.KEYS_DESTROYED:
            held.keys_destroyed_at = at
            held.keys_existed = at > self._period.since
        elif event == Event.TRANSFER_DELETED:
            held.deleted_at = at
            if at in self._period:
                account = (fields["files"], fields["size"], fields["lateness_ms"])
                self.deletion = SeenDeletion(held.transfer, at, fields.get("outcome"), *account)
        elif event == Event.DELETION_FAILED and at in self._period:
            self.failures.append(FailedDeletion(held.transfer, at, fields.get("outcome")))

    @property
    def was_held(self) -> bool:
        """Whether the transfer was held at any moment of the period."""
        created, deleted = self.held.created_at, self.held.deleted_at
        begun = created is None or created < self._period.until
        return begun and (deleted is None or deleted > self._period.since)

    def claims_seen(self) -> list[SeenClaim]:
        """Return the claims that were open in the period or had a download in it."""
        return [claim for claim in self.claims.values() if claim.downloads or self._was_open(claim)]

    def _was_open(self, claim: SeenClaim) -> bool:
        claimed, ended = claim.claimed_at, claim.ended_at
        if claimed is not None and claimed in self._period:
            return True
        begun = claimed is None or claimed < self._period.until
        return begun and (ended is None or ended > self._period.since)
