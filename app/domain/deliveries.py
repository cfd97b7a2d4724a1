"""The delivery report: what was deposited in a period, by depositor and by recipient, and what nobody fetched.

It covers the transfers that were created in the period, and what happened to them until now. The figures come from
the log. The log has no names: those of recipients and tokens are looked up in rows, and are None once they are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.domain.audit_events import Event
from app.domain.evidence import NO_EVIDENCE, Evidence

LISTED = 10_000
"""The report lists at most this many unfetched transfers; `never_fetched_count` counts all of them."""

_SHARE_ENDINGS = frozenset(
    {
        Event.SHARE_COMPLETED,
        Event.SHARE_LAPSED,
        Event.SHARE_WITHDRAWN,
        Event.SHARE_LOCKED,
        Event.SHARE_EXPIRED,
    }
)


@dataclass(slots=True)
class Delivery:
    """One share. `fetched` if a download began, even one whose end was not logged because its process died."""

    claimed: bool = False
    fetched: bool = False
    ended: bool = False
    downloads: int = 0
    bytes: int = 0
    last_fetched_at: datetime | None = None


@dataclass(slots=True)
class DepositedTransfer:
    """One transfer, from its log entries, which are added in order. `depositor` is a token's id."""

    transfer: str
    depositor: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    ending: str | None = None
    files: int = 0
    bytes: int = 0
    shares: dict[str, Delivery] = field(default_factory=dict)

    def add(self, event: str, at: datetime, fields: Mapping[str, Any]) -> None:
        """Add one entry."""
        if event == Event.TRANSFER_CREATED:
            self.depositor = str(fields["actor"]).removeprefix("token:")
            self.created_at, self.expires_at = at, datetime.fromisoformat(fields["expires_at"])
        elif event == Event.FILE_DEPOSITED:
            self.files += 1
            self.bytes += fields["size"]
        elif event == Event.TRANSFER_DENIED:
            self.ended_at, self.ending = at, fields["outcome"]
        elif event == Event.SHARE_ISSUED:
            self.shares.setdefault(fields["share"], Delivery())
        elif event in _SHARE_ENDINGS or event in {Event.SHARE_CLAIMED, Event.FILE_FETCHED}:
            self._add_delivery(event, at, fields)

    def _add_delivery(self, event: str, at: datetime, fields: Mapping[str, Any]) -> None:
        share = self.shares.setdefault(fields["share"], Delivery())
        if event == Event.SHARE_CLAIMED:
            share.claimed = True
        elif event == Event.FILE_FETCHED:
            share.fetched = True
            share.downloads += fields.get("count", 1)
            share.bytes += fields["size"]
            share.last_fetched_at = at
        else:
            share.ended = True
            share.fetched = share.fetched or fields.get("size", 0) > 0

    @property
    def fetched(self) -> bool:
        """Whether anything of it was fetched."""
        return any(share.fetched for share in self.shares.values())


@dataclass(slots=True)
class DepositorFigures:
    """What one access token deposited. `name` is None if the token's row is gone."""

    token: str
    name: str | None
    transfers: int = 0
    files: int = 0
    bytes: int = 0
    shares: int = 0
    fetched: int = 0
    never_fetched: int = 0


@dataclass(slots=True)
class RecipientFigures:
    """What was shared with one recipient. `recipient` None collects all whose names are gone. `waiting` shares are open
    and not fetched yet; `unfetched` ones ended without a download.
    """

    recipient: str | None
    shares: int = 0
    claimed: int = 0
    fetched: int = 0
    waiting: int = 0
    unfetched: int = 0
    downloads: int = 0
    bytes: int = 0
    last_fetched_at: datetime | None = None

    def add(self, share: Delivery) -> None:
        """Add one share."""
        self.shares += 1
        self.claimed += share.claimed
        self.fetched += share.fetched
        self.waiting += not share.fetched and not share.ended
        self.unfetched += not share.fetched and share.ended
        self.downloads += share.downloads
        self.bytes += share.bytes
        if share.last_fetched_at is not None:
            self.last_fetched_at = max(share.last_fetched_at, self.last_fetched_at or share.last_fetched_at)


@dataclass(slots=True)
class UnfetchedTransfer:
    """A transfer with files of which nothing was fetched. `ended_at` None: it can still be fetched. `names_gone` of its
    shares have no recipient's name any more.
    """

    transfer: str
    depositor: str
    recipients: list[str]
    names_gone: int
    created_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    ending: str | None
    files: int
    bytes: int
    claimed: bool


@dataclass(slots=True)
class DeliveryReport:
    """The report. It is not `complete` if entries of the period were pruned, those before `pruned_before`, or `lost`
    with a restored database, as periods (from, to).
    """

    at: datetime
    since: datetime
    until: datetime
    complete: bool
    evidence: Evidence = NO_EVIDENCE
    pruned_before: datetime | None = None
    lost: list[tuple[datetime, datetime]] = field(default_factory=list)
    transfers: int = 0
    fetched: int = 0
    never_fetched_count: int = 0
    by_depositor: list[DepositorFigures] = field(default_factory=list)
    by_recipient: list[RecipientFigures] = field(default_factory=list)
    never_fetched: list[UnfetchedTransfer] = field(default_factory=list)


class DeliveryTotals:
    """Adds up transfers in constant memory per depositor and recipient."""

    def __init__(self, report: DeliveryReport, token_names: Mapping[str, str]) -> None:
        """`token_names` by token id."""
        self._report = report
        self._tokens = token_names
        self._depositors: dict[str, DepositorFigures] = {}
        self._recipients: dict[str | None, RecipientFigures] = {}

    def add(self, transfer: DepositedTransfer, recipients: Mapping[str, str]) -> None:
        """Add a transfer. `recipients` has the names that still exist, by share id."""
        unfetched = bool(transfer.files) and not transfer.fetched
        self._report.transfers += 1
        self._report.fetched += transfer.fetched
        self._report.never_fetched_count += unfetched
        self._add_depositor(transfer, unfetched=unfetched)
        for share_id, share in transfer.shares.items():
            name = recipients.get(share_id)
            self._recipients.setdefault(name, RecipientFigures(name)).add(share)
        if unfetched and len(self._report.never_fetched) < LISTED:
            self._report.never_fetched.append(self._unfetched(transfer, recipients))

    def _add_depositor(self, transfer: DepositedTransfer, *, unfetched: bool) -> None:
        token = transfer.depositor
        figures = self._depositors.setdefault(token, DepositorFigures(token, self._tokens.get(token)))
        figures.transfers += 1
        figures.files += transfer.files
        figures.bytes += transfer.bytes
        figures.shares += len(transfer.shares)
        figures.fetched += transfer.fetched
        figures.never_fetched += unfetched

    def _unfetched(self, transfer: DepositedTransfer, recipients: Mapping[str, str]) -> UnfetchedTransfer:
        names = [recipients[share] for share in transfer.shares if share in recipients]
        return UnfetchedTransfer(
            transfer=transfer.transfer,
            depositor=self._tokens.get(transfer.depositor, transfer.depositor),
            recipients=sorted(set(names)),
            names_gone=len(transfer.shares) - len(names),
            created_at=transfer.created_at,
            expires_at=transfer.expires_at,
            ended_at=transfer.ended_at,
            ending=transfer.ending,
            files=transfer.files,
            bytes=transfer.bytes,
            claimed=any(share.claimed for share in transfer.shares.values()),
        )

    def finish(self) -> DeliveryReport:
        """Return the report, the largest figures first."""
        self._report.by_depositor = sorted(self._depositors.values(), key=lambda it: (-it.transfers, it.token))
        self._report.by_recipient = sorted(
            self._recipients.values(), key=lambda it: (it.recipient is None, -it.shares, it.recipient or "")
        )
        return self._report
