"""A transfer's testimony: the facts that its log entries attest, with which its rows are compared.

`app/db/testimony_rows.py` reads the entries and checks each one's content against its hash. Only sound entries count;
an altered one is recorded as such, and its content is ignored. An attacker who can write to the database can append an
entry with a valid hash. So every field is validated here, and the first entry of each kind counts: a later one cannot
replace what was logged at the time.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app.domain.audit_events import Event
from app.domain.share import ShareState
from app.domain.transfer import TransferState

FACTS = (Event.TRANSFER_CREATED, Event.FILE_DEPOSITED, Event.SHARE_PREPARED, Event.SHARE_ISSUED)
"""The events that record files and expiry: all that ending and deleting a transfer requires."""

_STATE_AFTER = {
    Event.TRANSFER_DENIED: TransferState.DENIED,
    Event.KEYS_DESTROYED: TransferState.KEYS_DESTROYED,
    Event.BYTES_DELETED: TransferState.BYTES_DELETED,
    Event.TRANSFER_DELETED: TransferState.VERIFIED,
}
_SHARE_STATE_AFTER = {
    Event.SHARE_PREPARED: ShareState.PREPARED,
    Event.SHARE_ISSUED: ShareState.ISSUED,
    Event.SHARE_CLAIMED: ShareState.CLAIMED,
    Event.SHARE_COMPLETED: ShareState.COMPLETED,
    Event.SHARE_LAPSED: ShareState.LAPSED,
    Event.SHARE_WITHDRAWN: ShareState.WITHDRAWN,
    Event.SHARE_LOCKED: ShareState.LOCKED,
    Event.SHARE_EXPIRED: ShareState.EXPIRED,
}
LIFE = (
    *FACTS,
    *_STATE_AFTER,
    *(event for event in _SHARE_STATE_AFTER if event not in FACTS),
    Event.SHARE_KEYS_DESTROYED,
    Event.PASSWORD_WRONG,
)
"""All events that a transfer's rows are compared with."""


_EVENTS = {event.value: event for event in LIFE}
_STARTS = frozenset({Event.SHARE_PREPARED, Event.SHARE_ISSUED})
_ONCE_PER_SHARE = _STARTS | {Event.SHARE_CLAIMED}
_ID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")  # 16 bytes in base64url: the last character has two bits
_MOST = 2**53 - 1
"""The largest number that an entry can contain (RFC 8785, section 3.2.2.3)."""


class AttestedEntry(NamedTuple):
    """One entry: sequence number, leaf hash (32 bytes), fields, time in its column, whether content and hash agree."""

    sequence: int
    leaf: bytes
    fields: Mapping[str, Any]
    at: datetime
    sound: bool


class AttestedFile(NamedTuple):
    """A deposited file according to the log: plaintext size in bytes, and blob id (None in entries of version 0.1)."""

    size: int
    blob: str | None


@dataclass(slots=True)
class AttestedShare:
    """A share according to the log; None for what was not logged."""

    state: ShareState
    issued_at: datetime
    expires_at: datetime | None = None
    claim: str | None = None
    claimed_at: datetime | None = None
    ended_at: datetime | None = None
    keys_destroyed_at: datetime | None = None
    wrong_passwords: int = 0


@dataclass(slots=True)
class Testimony:
    """The facts about one transfer in its sound entries.

    `altered`: an entry's content does not match its hash, or a field has the wrong type or form. `mistimed`: the time
    in an entry's column differs from the time in its content. `repeated`: an event that can happen only once was logged
    again. `blobs` are the blobs named by any entry, repeated ones included. `leaves` are leaf hashes by sequence number
    if the entries are to be proved, otherwise None.
    """

    created: Mapping[str, Any] | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    files: dict[int, AttestedFile] = field(default_factory=dict)
    shares: dict[str, AttestedShare] = field(default_factory=dict)
    state: TransferState | None = None
    state_at: datetime | None = None
    denied_at: datetime | None = None
    ending: str | None = None
    altered: bool = False
    mistimed: bool = False
    repeated: bool = False
    blobs: set[str] = field(default_factory=set)
    entries: int = 0
    leaves: dict[int, bytes] | None = None
    _seen: set[tuple[Event, str]] = field(default_factory=set)

    @property
    def ends_at(self) -> datetime | None:
        """The earliest expiry that an entry names, or None."""
        ends = [self.expires_at, *(share.expires_at for share in self.shares.values())]
        return min((end for end in ends if end is not None), default=None)

    @property
    def closed_at(self) -> datetime | None:
        """When the first share was prepared or issued, or None."""
        return min((share.issued_at for share in self.shares.values()), default=None)

    def add(self, entry: AttestedEntry) -> None:
        """Read the next entry, in the order of the log. A malformed entry counts as altered."""
        self.entries += 1
        if self.leaves is not None:
            self.leaves[entry.sequence] = entry.leaf
        try:
            moment = _time(entry.fields["time"])
            if moment != entry.at:
                self.mistimed = True
            if entry.sound and entry.fields["sequence"] == entry.sequence:
                self._read(_EVENTS[entry.fields["event"]], entry.fields, moment)
            else:
                self.altered = True
        except (KeyError, TypeError, ValueError):
            self.altered = True

    def _read(self, event: Event, fields: Mapping[str, Any], moment: datetime) -> None:
        if event == Event.TRANSFER_CREATED:
            self._read_creation(fields, moment)
        elif event == Event.FILE_DEPOSITED:
            self._read_deposit(fields)
        elif event in _STATE_AFTER:
            self.state, self.state_at = _STATE_AFTER[event], moment
            if event == Event.TRANSFER_DENIED:
                self.denied_at, self.ending = moment, fields.get("outcome")
            elif event == Event.KEYS_DESTROYED:
                for share in self.shares.values():
                    share.keys_destroyed_at = share.keys_destroyed_at or moment
        elif event == Event.SHARE_KEYS_DESTROYED:
            self.shares[_id(fields["share"])].keys_destroyed_at = moment
        elif event == Event.PASSWORD_WRONG:
            share = self.shares[_id(fields["share"])]
            share.wrong_passwords = max(share.wrong_passwords, _number(fields["count"]))
        else:
            self._read_of_share(event, fields, moment)

    def _read_creation(self, fields: Mapping[str, Any], moment: datetime) -> None:
        expires_at = _time(fields["expires_at"])
        if "owner" in fields:
            _require_owner(fields)
        if self.created is not None:
            self.repeated = True
            return
        self.created, self.created_at, self.expires_at = fields, moment, expires_at
        self.state = self.state or TransferState.RECEIVING

    def _read_deposit(self, fields: Mapping[str, Any]) -> None:
        """Read a deposit. A file number is deposited at most once: an abandoned upload is not logged as a deposit."""
        number, blob = _number(fields["file"]), fields.get("blob")
        file = AttestedFile(_number(fields["size"]), None if blob is None else _id(blob))
        if file.blob is not None:
            self.blobs.add(file.blob)
        if number in self.files:
            self.repeated = True
            return
        self.files[number] = file
        if self.state == TransferState.RECEIVING:
            self.state = TransferState.LIVE

    def _read_of_share(self, event: Event, fields: Mapping[str, Any], moment: datetime) -> None:
        share_id, state = _id(fields["share"]), _SHARE_STATE_AFTER[event]
        expires_at = _time(fields["expires_at"]) if event in _STARTS else None
        claim = _optional_id(fields.get("claim")) if event == Event.SHARE_CLAIMED else None
        if (event, share_id) in self._seen:
            self.repeated = True
            return
        if event in _ONCE_PER_SHARE:
            self._seen.add((event, share_id))
        share = self.shares.setdefault(share_id, AttestedShare(state, moment))
        share.state = state
        if expires_at is not None:
            self.repeated |= share.expires_at not in {None, expires_at}
            share.expires_at = min(share.expires_at or expires_at, expires_at)
        elif state == ShareState.CLAIMED:
            share.claim, share.claimed_at = claim, moment
        else:
            share.ended_at = moment


def _time(value: Any) -> datetime:
    """Parse a time. Raises TypeError or ValueError unless it is in UTC."""
    moment = datetime.fromisoformat(value)
    if moment.utcoffset() != timedelta(0):
        raise ValueError("not a time in UTC")
    return moment


def _number(value: Any) -> int:
    """Return the value. Raises ValueError unless it is an integer from 0 to _MOST."""
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError("not a whole number")
    return value


def _id(value: Any) -> str:
    """Return the value. Raises TypeError or ValueError unless it is an id."""
    if _ID.fullmatch(value) is None:
        raise ValueError("not an id")
    return str(value)


def _optional_id(value: Any) -> str | None:
    return None if value is None else _id(value)


def _require_owner(fields: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError unless the owner is text (a digest under the salt) and the salt decodes."""
    if not isinstance(fields["owner"], str):
        raise TypeError("an owner is text")
    urlsafe_b64decode(f"{fields['salt']}==")
