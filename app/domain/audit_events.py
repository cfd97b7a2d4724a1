"""The audit log's events, and the only fields that an entry can have.

No field exists for a file name, label, recipient, free text, patient data or secret (CNIL 2021-122).
`docs/audit-log.md` lists events and fields; a test compares.
"""

from __future__ import annotations

import base64
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple


class Event(StrEnum):
    """Every event of the log, named `subject.action`."""

    LOG_STARTED = "log.started"
    LOG_RENEWED = "log.renewed"
    LOG_PRUNED = "log.pruned"
    TOKEN_CREATED = "token.created"
    TOKEN_REVOKED = "token.revoked"
    TOKENS_REFUSED = "tokens.refused"
    SESSION_STARTED = "session.started"
    SESSION_ENDED = "session.ended"
    SESSION_REFUSED = "session.refused"
    TRANSFER_CREATED = "transfer.created"
    FILE_DEPOSITED = "file.deposited"
    UPLOAD_ABANDONED = "upload.abandoned"
    SHARE_PREPARED = "share.prepared"
    SHARE_ISSUED = "share.issued"
    SHARE_CLAIMED = "share.claimed"
    PASSWORD_WRONG = "password.wrong"
    FILE_FETCHED = "file.fetched"
    SHARE_COMPLETED = "share.completed"
    SHARE_LAPSED = "share.lapsed"
    SHARE_WITHDRAWN = "share.withdrawn"
    SHARE_LOCKED = "share.locked"
    SHARE_EXPIRED = "share.expired"
    SHARE_KEYS_DESTROYED = "share.keys_destroyed"
    TRANSFER_DENIED = "transfer.denied"
    KEYS_DESTROYED = "keys.destroyed"
    BYTES_DELETED = "bytes.deleted"
    TRANSFER_DELETED = "transfer.deleted"
    DELETION_FAILED = "deletion.failed"
    ORPHAN_DESTROYED = "orphan.destroyed"
    LINKS_REFUSED = "links.refused"
    CLOCK_DISTRUSTED = "clock.distrusted"
    CLOCK_ACCEPTED = "clock.accepted"
    LOCKDOWN_BEGUN = "lockdown.begun"
    LOCKDOWN_LIFTED = "lockdown.lifted"
    INTAKE_STOPPED = "intake.stopped"
    INTAKE_RESUMED = "intake.resumed"
    ALL_KEYS_DESTROYED = "keys.all_destroyed"
    DATABASE_RESTORED = "database.restored"
    VAULT_REPLACED = "vault.replaced"
    VAULT_ACCEPTED = "vault.accepted"
    DRILL_PASSED = "drill.passed"
    DRILL_FAILED = "drill.failed"


OPERATOR = "operator"
"""The actor of entries that a command on the machine wrote; the field `operator` names the person."""


class Entry(NamedTuple):
    """One log entry. Fields that are None are left out of the JSON. Sizes in bytes, lateness in milliseconds.

    A NamedTuple because it is cheaper to create than a frozen dataclass, and a sweep creates four per transfer.
    """

    event: Event
    at: datetime
    actor: str
    transfer: str | None = None
    share: str | None = None
    claim: str | None = None
    token: str | None = None
    role: str | None = None
    file: int | None = None
    files: int | None = None
    size: int | None = None
    address: str | None = None
    expires_at: datetime | None = None
    purpose: str | None = None
    records: int | None = None
    sealed: bool | None = None
    outcome: str | None = None
    lateness_ms: int | None = None
    count: int | None = None  # type: ignore[assignment]  # shadows tuple.count, which is not used here
    quoted: str | None = None
    below: int | None = None
    blob: str | None = None
    owner: str | None = None
    acknowledged: int | None = None
    cut: int | None = None
    operator: str | None = None
    reason: str | None = None
    addresses: str | None = None
    lost: int | None = None
    session: str | None = None

    def content(self, sequence: int, salt: str) -> dict[str, str | int | bool]:
        """Return the object to be written as canonical JSON (RFC 8785). Times are RFC 3339, UTC, with microseconds.

        The owner is written as a digest under the entry's own salt: it can be compared, not read.
        """
        content: dict[str, str | int | bool] = {
            "sequence": sequence,
            "salt": salt,
            "event": self.event.value,
            "time": log_time(self.at),
        }
        for name, value in zip(_MORE, self[2:], strict=True):
            if value is not None:
                content[name] = log_time(value) if isinstance(value, datetime) else value
        if self.owner is not None:
            content["owner"] = owner_digest(self.owner, salt)
        return content


class Reason(StrEnum):
    """Why somebody ended something, as they state it; never free text, which could hold data about a patient."""

    INCIDENT = "incident"
    MISTAKE = "mistake"
    REQUEST = "request"
    TEST = "test"
    OTHER = "other"


class Cause(NamedTuple):
    """Who makes a change, from which network address, and why. All entries of this actor in a transaction get both."""

    actor: str
    address: str | None = None
    reason: Reason | None = None

    def complete(self, entry: Entry) -> Entry:
        """Return the entry with address and reason, if it is of this actor."""
        if entry.actor != self.actor:
            return entry
        return entry._replace(address=entry.address or self.address, reason=entry.reason or self.reason)


_MORE = Entry._fields[2:]  # all but event and time


class RenewalReason(StrEnum):
    """Why an operator started a new log origin: the `outcome` of `log.renewed`."""

    LOG_DAMAGED = "log_damaged"
    KEY_LOST = "key_lost"
    KEY_EXPOSED = "key_exposed"


EXPLAINING = (Event.LOG_STARTED, Event.LOG_RENEWED, Event.DATABASE_RESTORED)
"""Entries about the log itself. They concern no person, so pruning keeps their content."""


ONLY_BY_SCHEDULER = frozenset(
    {
        Event.SHARE_KEYS_DESTROYED,
        Event.KEYS_DESTROYED,
        Event.BYTES_DELETED,
        Event.TRANSFER_DELETED,
        Event.CLOCK_DISTRUSTED,
        Event.CLOCK_ACCEPTED,
        Event.LOG_PRUNED,
        Event.LOG_RENEWED,
        Event.DATABASE_RESTORED,
    }
)
"""Entries that attest a destruction, or explain a gap. Only the scheduler's user writes them: if processes that face
the network have another user, the signer signs no others (app/lifecycle/forged_entries.py).
"""


def owner_digest(owner: str, salt: str) -> str:
    """Return the `owner` field of an entry: SHA-256 over the entry's salt (16 bytes) and the owner (UTF-8), in
    base64url without padding like all binary values in the log.
    """
    salted = base64.urlsafe_b64decode(f"{salt}==") + owner.encode()
    return base64.urlsafe_b64encode(sha256(salted).digest()).rstrip(b"=").decode()


@lru_cache(maxsize=256)  # all entries of a batch share one time
def log_time(moment: datetime) -> str:
    """Format a time as the log writes it: `2026-01-31T08:15:00.000000Z`."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
