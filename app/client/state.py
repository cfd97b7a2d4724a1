r"""What a client remembers between runs: client keys until their transfers end, interrupted sends, and claims.

A folder of the user's own, mode 0700: `$XDG_STATE_HOME/caducee` (XDG Base Directory Specification), by default
`~/.local/state/caducee`; on Windows `%LOCALAPPDATA%\caducee`. It never holds a link, a password, an access token or a
transfer key.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.client.durable import locked, make_folder, sync_folder, write_durably
from app.client.errors import InUse, NotConfigured
from app.client.moments import has_passed
from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.crypto.token import new_secret

_TOKEN_BYTES = 32
_BUSY = "another process is sending the same files to the same recipients"
_CLAIM = ("server", "claim_id", "expires_at")


def state_folder() -> Path:
    """Return the folder of the client's state."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "caducee"
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "caducee"


@dataclass(slots=True, repr=False)
class PendingFile:
    """A file on its way: where it lies, its name for the recipient and the folders above it, and its size in bytes and
    time of change (ns) when the send began. `upload` is its path on the server once it was announced. With `only_link`,
    it is not sent once it has another hard link.
    """

    path: str
    name: str
    media_type: str
    size: int
    changed_ns: int
    upload: str | None = None
    done: bool = False
    folders: str = ""
    only_link: bool = False

    @property
    def shown(self) -> str:
        """Its folders and name, `/` between them."""
        return f"{self.folders}/{self.name}" if self.folders else self.name


@dataclass(slots=True, repr=False)
class PendingSend:
    """An interrupted send."""

    server: str
    idempotency_key: str
    files: list[PendingFile]
    client_key: str
    transfer_id: str | None = None
    expires_at: str = ""


@dataclass(slots=True, repr=False)
class SentTransfer:
    """A transfer that was sent from here, with its client key: None once it was seen to have ended. `fingerprint` is
    the same for the same files, unchanged, to the same recipients; `sent_at` is when the send began.
    """

    server: str
    transfer_id: str
    client_key: str | None
    sealed: bool
    expires_at: str
    files: list[str]
    recipients: list[str]
    fingerprint: str = ""
    sent_at: str = ""


class ClientState:
    """The state folder."""

    def __init__(self, root: Path | None = None) -> None:
        """Take a folder, by default the user's own."""
        self.root = root or state_folder()

    # --- interrupted sends

    @contextmanager
    def sending(self, server: str, request: dict[str, Any]) -> Iterator[SendRecord]:
        """Hold the record of one send, the same for the same request to the same server. Raises InUse while another
        process holds it. A request with a name is kept by the program that named it, also past the transfer's end.
        """
        name = hashlib.sha256(json.dumps([server, request], sort_keys=True).encode()).hexdigest()[:32]
        folder = self._folder("named-sends" if "name" in request else "sends") / name
        make_folder(folder)
        with locked(folder / "lock", _BUSY):
            yield SendRecord(folder)

    # --- watched folders

    def watch(self, watch_id: str) -> Path:
        """Return the folder of what is known about a watched folder, which exists once the watch has begun."""
        return self._folder("watches") / watch_id

    # --- claims

    @contextmanager
    def claiming(self, share_id: str) -> Iterator[ClaimRecord]:
        """Hold the record of one claim, begun before the share is claimed. Raises InUse."""
        folder = self._folder("claims")
        with locked(folder / f"{share_id}.lock", "another process is fetching the same link"):
            yield ClaimRecord(folder / f"{share_id}.json")

    def claims(self) -> list[str]:
        """Return the ids of the shares that have such a record."""
        return [path.stem for path in self._folder("claims").glob("*.json")]

    # --- what was received

    def received(self) -> list[Path]:
        """Return the files that describe what was received here."""
        return list(self._folder("received").glob("*.json"))

    def keep_received(self, share_id: str, content: dict[str, Any]) -> None:
        """Store such a description, durably."""
        _write(self._folder("received") / f"{share_id}.json", content)

    # --- services that the user trusts

    def knows(self, server: str) -> bool:
        """Whether the user has fetched from, or agreed to, this server before."""
        with suppress(FileNotFoundError):
            return server in (self.root / "servers").read_text("utf-8").splitlines()
        return False

    def trust(self, server: str) -> None:
        """Remember that the user agreed to a server."""
        if not self.knows(server):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with (self.root / "servers").open("a", encoding="utf-8") as file:
                file.write(f"{server}\n")

    # --- transfers that were sent

    def remember(self, sent: SentTransfer) -> None:
        """Keep a transfer's client key."""
        _write(self._folder("sent") / f"{sent.transfer_id}.json", asdict(sent) | {"sent_at": sent.sent_at or _now()})

    def sent(self) -> list[SentTransfer]:
        """Return the transfers that were sent from here and have not expired, oldest first; forget the others."""
        found = []
        for path in sorted(self._folder("sent").glob("*.json"), key=lambda each: each.stat().st_mtime_ns):
            with suppress(ValueError, TypeError, OSError):
                sent = SentTransfer(**json.loads(path.read_text("utf-8")))
                if has_passed(sent.expires_at):
                    path.unlink()
                    self._clear_sends_of(sent.transfer_id)
                else:
                    found.append(sent)
        return found

    def find(self, server: str, transfer_id: str) -> SentTransfer | None:
        """Return a transfer that was sent from here to this server."""
        return next((it for it in self.sent() if (it.server, it.transfer_id) == (server, transfer_id)), None)

    def forget(self, transfer_id: str) -> None:
        """Remove a transfer with its client key."""
        (self._folder("sent") / f"{transfer_id}.json").unlink(missing_ok=True)

    def forget_key(self, transfer_id: str) -> None:
        """Remove the client key of a transfer that has ended. The transfer stays listed, in order, until its expiry."""
        for sent in self.sent():
            if sent.transfer_id == transfer_id and sent.client_key is not None:
                path = self._folder("sent") / f"{transfer_id}.json"
                sent_at = path.stat().st_mtime_ns
                self.remember(replace(sent, client_key=None))
                os.utime(path, ns=(sent_at, sent_at))
                self._clear_sends_of(transfer_id)

    def _clear_sends_of(self, transfer_id: str) -> None:
        """Remove the interrupted send of a transfer that has ended; one that runs notices the end by itself."""
        for folder in self._folder("sends").iterdir():
            with suppress(InUse, NotConfigured, OSError), locked(folder / "lock", _BUSY):
                pending = SendRecord(folder).load()
                if pending is not None and pending.transfer_id == transfer_id:
                    SendRecord(folder).clear()

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        make_folder(folder)
        return folder


class SendRecord:
    """The record of one send: its state, and a journal for each file (`app/client/source.py`)."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists, and this process holds its lock."""
        self._folder = folder

    def load(self) -> PendingSend | None:
        """Return the interrupted send, or None. Raises OSError; NotConfigured for a damaged record: its link may be
        valid.
        """
        path = self._folder / "send.json"
        try:
            kept = json.loads(path.read_text("utf-8"))
            return PendingSend(**{**kept, "files": [PendingFile(**each) for each in kept["files"]]})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise _damaged(path, "look with `caducee sent` what was sent") from None

    def save(self, pending: PendingSend) -> None:
        """Store how far the send is."""
        _write(self._folder / "send.json", asdict(pending))

    def journal(self, number: int) -> Path:
        """Return the path of a file's journal."""
        return self._folder / f"{number}.journal"

    def clear(self) -> None:
        """Remove the record durably: the send is over, and a later one must not find it again."""
        (self._folder / "send.json").unlink(missing_ok=True)
        for path in self._folder.iterdir():
            if path.name != "lock":
                path.unlink()
        sync_folder(self._folder)


class ClaimRecord:
    """The record of one claim: its token; its server, its id once the claim succeeded, and its end; its unfinished
    files, each with the number of its device; and where its files were put, by number. `was_kept`: an earlier run
    stored it.
    """

    def __init__(self, path: Path) -> None:
        """Load it; without one, choose a token, which must be saved before it is used. Raises OSError; NotConfigured
        for a damaged record: without its token, the claim cannot go on.
        """
        self._path = path
        self.placed: dict[str, str] = {}
        self.parts: dict[str, int] = {}
        self.server, self.claim_id, self.expires_at = "", "", ""
        try:
            kept = json.loads(path.read_text("utf-8"))
            self.token = decode(kept["token"], length=_TOKEN_BYTES)
            self.placed, self.parts = dict(kept["placed"]), dict(kept["parts"])
            self.server, self.claim_id, self.expires_at = (str(kept.get(name, "")) for name in _CLAIM)
            self.was_kept = True
        except FileNotFoundError:
            self.token, self.was_kept = new_secret(), False
        except (ValueError, TypeError, KeyError, MalformedSecret):
            raise _damaged(path, "ask the sender for a new link") from None

    def save(self) -> None:
        """Store it."""
        kept = {"token": encode(self.token), "placed": self.placed, "parts": self.parts}
        _write(self._path, kept | {name: getattr(self, name) for name in _CLAIM})

    def clear(self) -> None:
        """Remove it: the claim is over."""
        self._path.unlink(missing_ok=True)


def _damaged(path: Path, advice: str) -> NotConfigured:
    return NotConfigured(f"{path} is damaged: {advice}, then remove that file")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(path: Path, content: dict[str, Any]) -> None:
    write_durably(path, json.dumps(content).encode())
