"""The signer's record of log entries that only the scheduler writes: their leaf hashes, until they are signed.

A process that faces the network can write to the database, and so append any entry to the log. It cannot write here: an
entry that claims a destruction and is not remembered is forged, and is never signed (app/lifecycle/forged_entries.py).

The hashes are kept before the entries are committed, one file per transaction, so that no two processes write to one
file. They are dropped once a checkpoint covers them, because the log before it cannot change any more.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.storage import durable_files
from app.storage.durable_files import opened_folder
from app.storage.errors import SigningUnavailable

FOLDER = "own-entries"
BEGINNING = "since"
HASH_BYTES = 32
_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the record begins: entries of this origin from number `size` on are checked, on top of this root."""

    origin: str
    size: int
    root: bytes


class OwnEntries:
    """The folder `own-entries` in the signer's folder. All methods raise SigningUnavailable."""

    def __init__(self, signing_dir: Path) -> None:
        """Store the path; nothing is opened."""
        self._path = signing_dir / FOLDER

    def beginning(self) -> Beginning | None:
        """Return where the record begins, or None if this installation keeps none."""
        try:
            with opened_folder(self._path) as folder:
                text = durable_files.read_file(BEGINNING, within=folder, max_bytes=1024).decode("ascii")
            origin, size, root = text.splitlines()
            return Beginning(origin, int(size), decode(root, length=HASH_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, MalformedSecret) as error:
            raise SigningUnavailable(f"{self._path} cannot be read") from error

    def begin(self, beginning: Beginning) -> None:
        """Begin the record here, durably, or anew if there is one."""
        text = f"{beginning.origin}\n{beginning.size}\n{encode(beginning.root)}\n"
        try:
            with opened_folder(self._path.parent) as above:
                durable_files.make_folder(self._path.name, within=above)
                os.fsync(above)
            with opened_folder(self._path) as folder:
                durable_files.replace_file(BEGINNING, text.encode("ascii"), within=folder)
        except OSError as error:
            raise SigningUnavailable(f"{self._path} cannot be written") from error

    def keep(self, stop: int, leaves: Iterable[bytes]) -> None:
        """Remember leaf hashes of entries below number `stop`, durably, if this installation keeps a record."""
        if self.beginning() is None:
            return
        content = "".join(f"{leaf.hex()}\n" for leaf in leaves)
        try:
            with opened_folder(self._path) as folder:
                durable_files.write_new(f"{stop}.{secrets.token_hex(8)}", content.encode("ascii"), within=folder)
                os.fsync(folder)
        except OSError as error:
            raise SigningUnavailable(
                f"an entry that only the scheduler writes cannot be recorded in {self._path}: "
                "is this command run by the scheduler's user?"
            ) from error

    def leaves(self) -> set[bytes]:
        """Return all leaf hashes that are remembered."""
        found: set[bytes] = set()
        try:
            with opened_folder(self._path) as folder:
                for name in _records(folder):
                    content = durable_files.read_file(name, within=folder, max_bytes=_MAX_BYTES)
                    lines = content.decode("ascii").splitlines()
                    # A writer that crashed, before its commit, may have left half a line.
                    found.update(bytes.fromhex(line) for line in lines if len(line) == 2 * HASH_BYTES)
        except (OSError, ValueError) as error:
            raise SigningUnavailable(f"{self._path} cannot be read") from error
        return found

    def forget(self, size: int) -> None:
        """Drop the hashes of entries below number `size`, which a checkpoint covers."""
        try:
            with opened_folder(self._path) as folder:
                for name in _records(folder):
                    if int(name.partition(".")[0]) <= size:
                        durable_files.remove(name, within=folder)
        except OSError as error:
            raise SigningUnavailable(f"{self._path} cannot be cleared") from error


def _records(folder: int) -> list[str]:
    """List the files of hashes, without the beginning and what a crashed writer left."""
    return [name for name in os.listdir(folder) if name.partition(".")[0].isdecimal()]
