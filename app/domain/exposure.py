"""The exposure report after a breach: transfers held in a period, downloads, attempts, deletions (GDPR 33 and 34).

Pure accounting over the log's entries: one `TransferAccount` per transfer reads its entries in order, and
`ExposureReport` adds up the accounts. A transfer is *held* from its creation until its deletion was verified, and its
*keys exist* from its creation until their destruction was observed; both ends may be late by the sweep's lateness,
never early.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.audit_events import Event
from app.domain.period import Period

Fields = Mapping[str, Any]

INCIDENTS = frozenset(
    {
        Event.ORPHAN_DESTROYED,
        Event.CLOCK_DISTRUSTED,
        Event.CLOCK_ACCEPTED,
        Event.LOCKDOWN_BEGUN,
        Event.LOCKDOWN_LIFTED,
        Event.ALL_KEYS_DESTROYED,
        Event.DATABASE_RESTORED,
        Event.LOG_RENEWED,
        Event.VAULT_REPLACED,
        Event.DRILL_FAILED,
    }
)
"""Events of the service as a whole that matter when a breach is assessed."""

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


@dataclass(slots=True)
class RefusedLinks:
    """The number of requests without a valid link in the minute that ended at `at`."""

    at: datetime
    count: int


@dataclass(slots=True)
class Incident:
    """An event of the service as a whole (INCIDENTS)."""

    at: datetime
    event: str
    actor: str
    count: int | None


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

    def take(self, event: str, at: datetime, fields: Fields) -> None:
        """Add one entry."""
        if event in {Event.TRANSFER_CREATED, Event.FILE_DEPOSITED, Event.SHARE_ISSUED}:
            self._take_deposit(event, at, fields)
        elif event in {Event.SHARE_CLAIMED, Event.FILE_FETCHED}:
            self._take_claim(event, at, fields)
        elif event == Event.PASSWORD_WRONG and at in self._period:
            self._take_wrong(at, fields)
        elif event in _SHARE_ENDINGS:
            for claim in (claim for claim in self.claims.values() if claim.share == fields["share"]):
                claim.ended_at, claim.ending = at, _SHARE_ENDINGS[Event(event)]
                claim.bytes_untold = max(0, fields.get("size", 0) - claim.bytes_in_all)
        else:
            self._take_ending(event, at, fields)

    def _take_deposit(self, event: str, at: datetime, fields: Fields) -> None:
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

    def _take_claim(self, event: str, at: datetime, fields: Fields) -> None:
        claim_id, address = fields["claim"], fields.get("address")
        claim = self.claims.setdefault(claim_id, SeenClaim(self.held.transfer, fields["share"], claim_id))
        if event == Event.SHARE_CLAIMED:
            claim.claimed_at, claim.address = at, address
        else:
            claim.bytes_in_all += fields["size"]
            claim.bytes_untold = max(0, claim.bytes_untold - fields["size"])  # a download that outlived the share
            if at in self._period:
                claim.downloads += 1
                claim.cut += fields["outcome"] == "cut"
                claim.bytes += fields["size"]
        if address is not None and address not in claim.addresses:
            claim.addresses.append(address)

    def _take_wrong(self, at: datetime, fields: Fields) -> None:
        share, address = fields["share"], fields.get("address")
        seen = self.wrong.setdefault((share, address), WrongPasswords(self.held.transfer, share, address, 0, at, at))
        seen.count += 1
        seen.last_at = at

    def _take_ending(self, event: str, at: datetime, fields: Fields) -> None:
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
        return [claim for claim in self.claims.values() if claim.downloads or self._stood(claim)]

    def _stood(self, claim: SeenClaim) -> bool:
        claimed, ended = claim.claimed_at, claim.ended_at
        if claimed is not None and claimed in self._period:
            return True
        begun = claimed is None or claimed < self._period.until
        return begun and (ended is None or ended > self._period.since)


@dataclass(slots=True)
class Volume:
    """Totals of transfers, files and bytes, of the people declared by depositors (`records`), and of the transfers that
    declared none.
    """

    transfers: int = 0
    files: int = 0
    bytes: int = 0
    records: int = 0
    transfers_without_records: int = 0

    def add(self, held: HeldTransfer) -> None:
        """Add one transfer to the totals."""
        self.transfers += 1
        self.files += held.files
        self.bytes += held.bytes
        self.records += held.records or 0
        self.transfers_without_records += held.records is None


@dataclass(slots=True)
class PurposeVolume:
    """Totals for one purpose; `purpose` is None for transfers whose depositor stated none."""

    purpose: str | None
    volume: Volume


@dataclass(slots=True)
class DownloadTotals:
    """Downloads in the period, with the number of recipients (shares) and network addresses. At most `bytes_untold`
    more bytes may have been sent while the listed claims were open.
    """

    claims: int = 0
    recipients: int = 0
    addresses: int = 0
    downloads: int = 0
    bytes: int = 0
    bytes_untold: int = 0


@dataclass(slots=True)
class RefusalTotals:
    """Refused attempts in the period; a high `most_links_in_a_minute` indicates guessing rather than mistyping."""

    wrong_passwords: int = 0
    addresses: int = 0
    links: int = 0
    most_links_in_a_minute: int = 0


@dataclass(slots=True)
class DeletionTotals:
    """Deletions in the period, with the worst lateness."""

    transfers: int = 0
    files: int = 0
    bytes: int = 0
    worst_lateness_ms: int = 0
    failures: int = 0


@dataclass(slots=True)
class ExposureReport:
    """The report. `complete` is False if the log pruned or lost entries of the period or of a transfer held in it.
    Entries before `pruned_before` were pruned, and `told_in_part` transfers were created before that; `lost` lists the
    periods (from, to) for which a restored database has no entries.
    """

    at: datetime
    since: datetime
    until: datetime
    entries: int
    pruned_before: datetime | None = None
    lost: list[tuple[datetime, datetime]] = field(default_factory=list)
    complete: bool = True
    told_in_part: int = 0
    held: Volume = field(default_factory=Volume)
    with_keys: Volume = field(default_factory=Volume)
    purposes: list[PurposeVolume] = field(default_factory=list)
    fetched: DownloadTotals = field(default_factory=DownloadTotals)
    refused: RefusalTotals = field(default_factory=RefusalTotals)
    deleted: DeletionTotals = field(default_factory=DeletionTotals)
    transfers: list[HeldTransfer] = field(default_factory=list)
    claims: list[SeenClaim] = field(default_factory=list)
    wrong_passwords: list[WrongPasswords] = field(default_factory=list)
    refused_links: list[RefusedLinks] = field(default_factory=list)
    deletions: list[SeenDeletion] = field(default_factory=list)
    failed_deletions: list[FailedDeletion] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)

    def take(self, account: TransferAccount) -> None:
        """Add the account of one transfer."""
        if account.was_held:
            self.transfers.append(account.held)
        self.claims += account.claims_seen()
        self.wrong_passwords += account.wrong.values()
        self.deletions += [account.deletion] if account.deletion else []
        self.failed_deletions += account.failures

    def take_other(self, event: str, at: datetime, fields: Fields) -> None:
        """Add an entry of the period that belongs to no transfer."""
        if event == Event.LINKS_REFUSED:
            self.refused_links.append(RefusedLinks(at, fields["count"]))
        elif event in INCIDENTS:
            self.incidents.append(Incident(at, event, fields["actor"], fields.get("count")))

    def total(self) -> None:
        """Sort everything by time and compute the totals, after the last `take`."""
        begin = self.since
        self.transfers.sort(key=lambda held: (held.created_at or begin, held.transfer))
        self.claims.sort(key=lambda claim: (claim.claimed_at or begin, claim.claim))
        self.wrong_passwords.sort(key=lambda wrong: (wrong.first_at, wrong.share))
        self.deletions.sort(key=lambda deletion: (deletion.at, deletion.transfer))
        self.failed_deletions.sort(key=lambda failure: (failure.at, failure.transfer))
        self._total_held()
        self._total_acts()
        self.told_in_part = sum(held.created_at is None for held in self.transfers)
        self.complete = self.complete and not self.told_in_part

    def _total_held(self) -> None:
        purposes: dict[str | None, Volume] = {}
        for held in self.transfers:
            self.held.add(held)
            if held.keys_existed:
                self.with_keys.add(held)
            purposes.setdefault(held.purpose, Volume()).add(held)
        ordered = sorted(purposes.items(), key=lambda item: (item[0] is None, item[0] or ""))
        self.purposes = [PurposeVolume(purpose, volume) for purpose, volume in ordered]

    def _total_acts(self) -> None:
        served = [claim for claim in self.claims if claim.bytes or claim.bytes_untold]
        self.fetched = DownloadTotals(
            claims=len(self.claims),
            recipients=len({claim.share for claim in served}),
            addresses=len({address for claim in self.claims for address in claim.addresses}),
            downloads=sum(claim.downloads for claim in self.claims),
            bytes=sum(claim.bytes for claim in self.claims),
            bytes_untold=sum(claim.bytes_untold for claim in self.claims),
        )
        self.refused = RefusalTotals(
            wrong_passwords=sum(wrong.count for wrong in self.wrong_passwords),
            addresses=len({wrong.address for wrong in self.wrong_passwords}),
            links=sum(refused.count for refused in self.refused_links),
            most_links_in_a_minute=max((refused.count for refused in self.refused_links), default=0),
        )
        self.deleted = DeletionTotals(
            transfers=len(self.deletions),
            files=sum(deletion.files for deletion in self.deletions),
            bytes=sum(deletion.bytes for deletion in self.deletions),
            worst_lateness_ms=max((deletion.lateness_ms for deletion in self.deletions), default=0),
            failures=len(self.failed_deletions),
        )
