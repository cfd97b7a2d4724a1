"""What the log's entries say of one transfer: a witness that its rows are held against.

Entries are read elsewhere (`app/db/testimony_rows.py`), which also checks that each one's content hashes to its leaf.
Only sound entries are believed; an altered one is remembered as such and says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from app.domain.audit_events import Event
from app.domain.share import ShareState
from app.domain.transfer import TransferState

FACTS = (Event.TRANSFER_CREATED, Event.FILE_DEPOSITED, Event.SHARE_PREPARED, Event.SHARE_ISSUED)
"""The entries that say what was handed over and until when; enough to end and delete a transfer by."""

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
LIFE = (*FACTS, *_STATE_AFTER, *(event for event in _SHARE_STATE_AFTER if event not in FACTS), Event.PASSWORD_WRONG)
"""All entries that a transfer's rows can be compared with."""


_EVENTS = {event.value: event for event in LIFE}


class Attested(NamedTuple):
    """One entry: its number, leaf hash (32 bytes), fields, the time in its column, whether content and leaf agree."""

    sequence: int
    leaf: bytes
    fields: Mapping[str, Any]
    at: datetime
    sound: bool


class AttestedFile(NamedTuple):
    """A file as it was deposited: bytes of plaintext; the blob is None in entries of version 0.1."""

    size: int
    blob: str | None


@dataclass(slots=True)
class AttestedShare:
    """A share as the log knows it."""

    state: ShareState
    issued_at: datetime
    expires_at: datetime | None = None
    claim: str | None = None
    claimed_at: datetime | None = None
    ended_at: datetime | None = None
    wrong_passwords: int = 0


@dataclass(slots=True)
class Testimony:
    """What sound entries say of one transfer. `altered`: an entry's content is not what was hashed; `mistimed`: an
    entry's column says another time than its content. `leaves`: the leaf hash of each entry by its number, where
    entries are to be proved.
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
    entries: int = 0
    leaves: dict[int, bytes] | None = None

    @property
    def ends_at(self) -> datetime | None:
        """The earliest end that an entry names; None without one."""
        ends = [self.expires_at, *(share.expires_at for share in self.shares.values())]
        return min((end for end in ends if end is not None), default=None)

    @property
    def blobs(self) -> set[str]:
        """The blobs that were deposited, as far as entries name them."""
        return {file.blob for file in self.files.values() if file.blob is not None}

    @property
    def closed_at(self) -> datetime | None:
        """When the first share was made; None without one."""
        return min((share.issued_at for share in self.shares.values()), default=None)

    def add(self, entry: Attested) -> None:
        """Hear the next entry, in the log's order. One that cannot be understood counts as altered."""
        self.entries += 1
        if self.leaves is not None:
            self.leaves[entry.sequence] = entry.leaf
        try:
            moment = datetime.fromisoformat(entry.fields["time"])
            if moment != entry.at:
                self.mistimed = True
            if entry.sound and entry.fields["sequence"] == entry.sequence:
                self._hear(_EVENTS[entry.fields["event"]], entry.fields, moment)
            else:
                self.altered = True
        except (KeyError, TypeError, ValueError):
            self.altered = True

    def _hear(self, event: Event, said: Mapping[str, Any], moment: datetime) -> None:
        if event == Event.TRANSFER_CREATED:
            self.created, self.created_at, self.state = said, moment, TransferState.RECEIVING
            self.expires_at = datetime.fromisoformat(said["expires_at"])
        elif event == Event.FILE_DEPOSITED:
            self.files[said["file"]] = AttestedFile(said["size"], said.get("blob"))
            if self.state == TransferState.RECEIVING:
                self.state = TransferState.LIVE
        elif event in _STATE_AFTER:
            self.state, self.state_at = _STATE_AFTER[event], moment
            if event == Event.TRANSFER_DENIED:
                self.denied_at, self.ending = moment, said.get("outcome")
        elif event == Event.PASSWORD_WRONG:
            share = self.shares[said["share"]]
            share.wrong_passwords = max(share.wrong_passwords, said["count"])
        else:
            self._hear_of_share(_SHARE_STATE_AFTER[event], said, moment)

    def _hear_of_share(self, state: ShareState, said: Mapping[str, Any], moment: datetime) -> None:
        share = self.shares.setdefault(said["share"], AttestedShare(state, moment))
        share.state = state
        if "expires_at" in said:
            share.expires_at = datetime.fromisoformat(said["expires_at"])
        elif state == ShareState.CLAIMED:
            share.claim, share.claimed_at = said.get("claim"), moment
        else:
            share.ended_at = moment
