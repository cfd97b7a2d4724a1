"""The folder with the log's signing key, its public key, and the copies that detect a restored database or vault.

Only the scheduler and the operator's commands read the private key. The last checkpoint is kept here, outside the
database, so that a restored database cannot pass for the complete log. So is the vault's last mark, so that an older
copy of the vault cannot pass for the current one.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.crypto.signed_note import Signer, new_signing_key
from app.storage import durable_files
from app.storage.errors import SigningUnavailable

PRIVATE_KEY = "log.key"
PUBLIC_KEY = "log.pub"
LAST_CHECKPOINT = "checkpoint"
FORGED = "forged"
VAULT_MARK = "vault-mark"
LOCK = "lock"
"""A file of its own, which only the signer's user may open: whoever can open a file can lock it (man 2 flock)."""
LOCK_SECONDS, LOCK_PAUSE_SECONDS = 30.0, 0.02
_MAX_BYTES = 1 << 20


class SigningFolder:
    """The folder (mode 0700). Its files (mode 0600) are replaced atomically and durably. If the scheduler has a user of
    its own, its group reads the folder (2750) and all files but the private key.
    """

    def __init__(self, root: Path) -> None:
        """Store the path; nothing is created or read."""
        self._root = root

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for one writer of checkpoints or marks. Without it, a writer that reads the log before
        another one signs would take the newer checkpoint for a rollback, or replace a newer mark by an older one.

        The lock ends with the process. Raises SigningUnavailable, also if another process holds it for LOCK_SECONDS.
        """
        with ExitStack() as stack:
            try:
                durable_files.make_root(self._root)
                with durable_files.opened_folder(self._root) as folder:
                    durable_files.put_once(LOCK, b"", within=folder, private=True)
                    descriptor = durable_files.open_file(LOCK, within=folder)
                stack.callback(os.close, descriptor)
                _lock(descriptor)
            except OSError as error:
                raise SigningUnavailable(f"{self._root} cannot be locked") from error
            yield

    def signer(self, origin: str) -> Signer:
        """Return the signer for a log with this origin; generate the key on first use. Raises SigningUnavailable."""
        try:
            durable_files.make_root(self._root)
            with durable_files.opened_folder(self._root) as folder:
                durable_files.put_once(
                    PRIVATE_KEY, f"{encode(new_signing_key())}\n".encode(), within=folder, private=True
                )
                text = durable_files.read_file(PRIVATE_KEY, within=folder, max_bytes=_MAX_BYTES)
                signer = Signer(origin, decode(text.decode("ascii").strip(), length=32))
                if self._read(PUBLIC_KEY) != signer.verifier_key:
                    durable_files.replace_file(PUBLIC_KEY, f"{signer.verifier_key}\n".encode(), within=folder)
        except (OSError, UnicodeDecodeError, MalformedSecret) as error:
            raise SigningUnavailable(f"the signing key in {self._root} cannot be used") from error
        return signer

    def give_up_key(self) -> None:
        """Durably remove the private key; `signer` then generates another. Raises SigningUnavailable."""
        try:
            with durable_files.opened_folder(self._root) as folder:
                durable_files.remove(PRIVATE_KEY, within=folder)
                os.fsync(folder)
        except FileNotFoundError:  # the folder was lost with the key
            return
        except OSError as error:
            raise SigningUnavailable(f"the signing key in {self._root} cannot be removed") from error

    def verifier_key(self) -> str | None:
        """Return the public key as text, or None before the first checkpoint. Raises SigningUnavailable."""
        return self._read(PUBLIC_KEY)

    def last_checkpoint(self) -> str | None:
        """Return the last signed note, or None before the first. Raises SigningUnavailable."""
        return self._read(LAST_CHECKPOINT, strip=False)

    def keep(self, note: str) -> None:
        """Store a signed note as the last checkpoint. Raises SigningUnavailable."""
        try:
            with durable_files.opened_folder(self._root) as folder:
                durable_files.replace_file(LAST_CHECKPOINT, note.encode(), within=folder)
        except OSError as error:
            raise SigningUnavailable(f"the checkpoint in {self._root} cannot be stored") from error

    def vault_mark(self) -> str | None:
        """Return the copy of the vault's mark, or None before the first. Raises SigningUnavailable."""
        return self._read(VAULT_MARK)

    def keep_vault_mark(self, text: str) -> None:
        """Store a copy of the vault's mark. Raises SigningUnavailable."""
        try:
            durable_files.make_root(self._root)
            with durable_files.opened_folder(self._root) as folder:
                durable_files.replace_file(VAULT_MARK, text.encode(), within=folder)
        except OSError as error:
            raise SigningUnavailable(f"the vault's mark in {self._root} cannot be stored") from error

    def forged(self) -> str | None:
        """What the signer last refused to sign as forged; None if nothing. Raises SigningUnavailable."""
        return self._read(FORGED)

    def note_forged(self, text: str | None) -> None:
        """Remember what is forged, for every process to see; None: nothing any more. Raises SigningUnavailable."""
        try:
            with durable_files.opened_folder(self._root) as folder:
                if text is not None:
                    durable_files.replace_file(FORGED, f"{text}\n".encode(), within=folder)
                elif durable_files.remove(FORGED, within=folder):
                    os.fsync(folder)
        except OSError as error:
            raise SigningUnavailable(f"{FORGED} in {self._root} cannot be written") from error

    def _read(self, name: str, *, strip: bool = True) -> str | None:
        try:
            with durable_files.opened_folder(self._root) as folder:
                text = durable_files.read_file(name, within=folder, max_bytes=_MAX_BYTES).decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SigningUnavailable(f"{name} in {self._root} cannot be read") from error
        return text.strip() if strip else text


def _lock(descriptor: int) -> None:
    """Lock an open file exclusively. Raises BlockingIOError after LOCK_SECONDS."""
    give_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return
