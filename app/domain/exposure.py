"""The exposure report after a breach: transfers held in a period, downloads, attempts, deletions (GDPR 33 and 34).

`ExposureReport` adds up the accounts of single transfers (`transfer_account.py`) and the entries of the service as a
whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from app.domain.audit_events import Event
from app.domain.evidence import NO_EVIDENCE, Evidence
from app.domain.transfer_account import (
    FailedDeletion,
    Fields,
    HeldTransfer,
    SeenClaim,
    SeenDeletion,
    TransferAccount,
    WrongPasswords,
)

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


@dataclass(slots=True)
class RefusedLinks:
    """The number of requests without a valid link in the minute that ended at `at`."""

    at: datetime
    count: int


@dataclass(slots=True)
class RefusedTokens:
    """The number of requests with a refused access token in the minute that ended at `at`; `addresses` as logged."""

    at: datetime
    count: int
    addresses: str


@dataclass(slots=True)
class Incident:
    """An event of the service as a whole (INCIDENTS)."""

    at: datetime
    event: str
    actor: str
    count: int | None


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
    tokens: int = 0


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
    refused_tokens: list[RefusedTokens] = field(default_factory=list)
    deletions: list[SeenDeletion] = field(default_factory=list)
    failed_deletions: list[FailedDeletion] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    evidence: Evidence = NO_EVIDENCE

    def add(self, account: TransferAccount) -> None:
        """Add the account of one transfer."""
        if account.was_held:
            self.transfers.append(account.held)
        self.claims += account.claims_seen()
        self.wrong_passwords += account.wrong.values()
        self.deletions += [account.deletion] if account.deletion else []
        self.failed_deletions += account.failures

    def add_other(self, event: str, at: datetime, fields: Fields) -> None:
        """Add an entry of the period that belongs to no transfer."""
        if event == Event.LINKS_REFUSED:
            self.refused_links.append(RefusedLinks(at, fields["count"]))
        elif event == Event.TOKENS_REFUSED:
            self.refused_tokens.append(RefusedTokens(at, fields["count"], fields["addresses"]))
        elif event in INCIDENTS:
            self.incidents.append(Incident(at, event, fields["actor"], fields.get("count")))

    def total(self) -> None:
        """Sort everything by time and compute the totals, after the last `add`."""
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
            tokens=sum(refused.count for refused in self.refused_tokens),
        )
        self.deleted = DeletionTotals(
            transfers=len(self.deletions),
            files=sum(deletion.files for deletion in self.deletions),
            bytes=sum(deletion.bytes for deletion in self.deletions),
            worst_lateness_ms=max((deletion.lateness_ms for deletion in self.deletions), default=0),
            failures=len(self.failed_deletions),
        )
