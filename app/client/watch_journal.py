"""What a watch remembers between runs: the batch that it has begun, and whether it was handed over.

A folder is known by a random id in `.caducee-watch`; the journal is in the client's state under that id. So a folder
that another user or machine watched before is refused, not sent again, and one that was moved is recognised.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.client.durable import locked, make_folder, remove_durably, write_durably
from app.client.errors import NotConfigured
from app.client.state import ClientState, PendingFile
from app.client.watch_report import now
from app.client.watched_folder import Identity
from app.crypto.token import is_id, new_id

MARK, LOCK = ".caducee-watch", ".caducee-watch.lock"
_PATH = "path"


@dataclass(slots=True, repr=False)
class Batch:
    """Files that one transfer sends. With a `transfer_id`, link and password were handed over, and only the files'
    places are open: `placed` names the places in `sent`.
    """

    server: str
    recipient: str
    terms: dict[str, Any]
    files: list[PendingFile]
    identities: list[Identity]
    placed: list[str] = field(default_factory=list)
    transfer_id: str | None = None
    expires_at: str = ""


class WatchJournal:
    """The journal of one folder, held by this process."""

    def __init__(self, folder: Path, watch_id: str) -> None:
        """`folder` exists."""
        self.watch_id, self._path = watch_id, folder / "batch.json"

    def load(self) -> Batch | None:
        """Return the batch that was begun, or None. Raises NotConfigured for a damaged one: it may have been sent."""
        try:
            kept = json.loads(self._path.read_text("utf-8"))
            files = [PendingFile(**each) for each in kept["files"]]
            return Batch(**{**kept, "files": files, "identities": [Identity(**each) for each in kept["identities"]]})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise NotConfigured(
                f"{self._path} is damaged: look with `caducee sent` which files were sent, move those out of the"
                " folder, then remove the journal"
            ) from None

    def save(self, batch: Batch) -> None:
        """Store a batch."""
        write_durably(self._path, json.dumps(asdict(batch)).encode())

    def clear(self) -> None:
        """Remove the batch: it is over."""
        remove_durably(self._path)


@contextmanager
def journal_of(root: Path, state: ClientState) -> Iterator[WatchJournal]:
    """Hold the journal of a folder. Raises InUse, naming who watches it; NotConfigured for a folder that was watched
    with another journal; OSError.
    """
    with locked(root / LOCK, f"{root} is already being watched by {_holder(root / LOCK)}") as descriptor:
        with suppress(OSError):  # on a full disk nobody is named
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 1, os.SEEK_SET)  # Windows locks the first byte against readers
            os.write(descriptor, f"{_who()}, process {os.getpid()}, since {now()}\n".encode())
        watch_id = _watch_id(root, state)
        yield WatchJournal(state.watch(watch_id), watch_id)


def _watch_id(root: Path, state: ClientState) -> str:
    mark = root / MARK
    try:
        kept = json.loads(mark.read_text("utf-8"))
        watch_id, who = str(kept["id"]), str(kept["watched_by"])
    except FileNotFoundError:
        _require_new(root, state)
        watch_id = new_id()
        make_folder(state.watch(watch_id))
        write_durably(state.watch(watch_id) / _PATH, str(root).encode())
        write_durably(mark, json.dumps({"id": watch_id, "watched_by": _who()}).encode())
        return watch_id
    except (ValueError, TypeError, KeyError):
        watch_id, who = "", "a program that left no name"
    if not is_id(watch_id) or not state.watch(watch_id).is_dir():
        raise NotConfigured(
            f"{root} was watched by {who}, whose journal is not in {state.root}: watch it as that user, or, if nothing"
            f" in out/ was sent by that watch, remove {mark}"
        )
    return watch_id


def _require_new(root: Path, state: ClientState) -> None:
    """Raise NotConfigured if this folder had a mark: it was replaced, or its volume is not mounted."""
    for path in state.watch("*").parent.glob(f"*/{_PATH}"):
        if path.read_bytes() == str(root).encode():
            raise NotConfigured(
                f"{root} was watched before, and {MARK} is missing in it: mount its volume, or, if the folder was made"
                f" anew, remove {path.parent}"
            )


def _holder(lock: Path) -> str:
    try:
        with lock.open("rb") as file:
            file.seek(1)
            return file.read(500).decode("utf-8", "replace").strip() or "another process"
    except OSError:
        return "another process"


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name
        user = f"user {os.getuid()}" if hasattr(os, "getuid") else "a user without a name"
    return f"{user} on {platform.node()}"
