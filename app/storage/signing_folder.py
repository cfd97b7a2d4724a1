"""The folder of the log's signing key: the private key, the public one to hand out, and what must outlive a restore.

Only the scheduler and the operator's commands read the private key. The last checkpoint is kept here, outside the
database, so that a restored database cannot pass for the whole log; the vault's last mark too, so that an older copy of
the vault cannot pass for the vault.
"""

from __future__ import annotations

import os
from pathlib import Path

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.crypto.signed_note import Signer, new_signing_key
from app.storage import durable_files
from app.storage.errors import StorageError

PRIVATE_KEY = "log.key"
PUBLIC_KEY = "log.pub"
LAST_CHECKPOINT = "checkpoint"
VAULT_MARK = "vault-mark"
_MAX_BYTES = 1 << 20


class SigningUnavailable(StorageError):
    """The signing key cannot be read or made."""


class SigningFolder:
    """One folder, mode 0700; its files 0600, each replaced whole and durably."""

    def __init__(self, root: Path) -> None:
        """Touch nothing yet."""
        self._root = root

    def signer(self, origin: str) -> Signer:
        """The signer of the log of this origin; the key is made on first use. Raises SigningUnavailable."""
        try:
            durable_files.make_root(self._root)
            with durable_files.opened_folder(self._root) as folder:
                durable_files.put_once(PRIVATE_KEY, f"{encode(new_signing_key())}\n".encode(), within=folder)
                text = durable_files.read_file(PRIVATE_KEY, within=folder, max_bytes=_MAX_BYTES)
                signer = Signer(origin, decode(text.decode("ascii").strip(), length=32))
                if self._read(PUBLIC_KEY) != signer.verifier_key:
                    durable_files.replace_file(PUBLIC_KEY, f"{signer.verifier_key}\n".encode(), within=folder)
        except (OSError, UnicodeDecodeError, MalformedSecret) as error:
            raise SigningUnavailable(f"the signing key in {self._root} cannot be used") from error
        return signer

    def give_up_key(self) -> None:
        """Remove the private key, durably: the next signer makes another. Raises SigningUnavailable."""
        try:
            with durable_files.opened_folder(self._root) as folder:
                durable_files.remove(PRIVATE_KEY, within=folder)
                os.fsync(folder)
        except OSError as error:
            raise SigningUnavailable(f"the signing key in {self._root} cannot be removed") from error

    def verifier_key(self) -> str | None:
        """The public key as it was written for handing out; None before the first checkpoint."""
        return self._read(PUBLIC_KEY)

    def last_checkpoint(self) -> str | None:
        """The last signed note; None before the first."""
        return self._read(LAST_CHECKPOINT, strip=False)

    def keep(self, note: str) -> None:
        """Keep a checkpoint as the last one. Raises SigningUnavailable."""
        try:
            with durable_files.opened_folder(self._root) as folder:
                durable_files.replace_file(LAST_CHECKPOINT, note.encode(), within=folder)
        except OSError as error:
            raise SigningUnavailable(f"the checkpoint in {self._root} cannot be kept") from error

    def vault_mark(self) -> str | None:
        """The vault's mark as it was last seen here; None before the first. Raises SigningUnavailable."""
        return self._read(VAULT_MARK)

    def keep_vault_mark(self, text: str) -> None:
        """Remember the vault's mark. Raises SigningUnavailable."""
        try:
            durable_files.make_root(self._root)
            with durable_files.opened_folder(self._root) as folder:
                durable_files.replace_file(VAULT_MARK, text.encode(), within=folder)
        except OSError as error:
            raise SigningUnavailable(f"the vault's mark in {self._root} cannot be kept") from error

    def _read(self, name: str, *, strip: bool = True) -> str | None:
        try:
            with durable_files.opened_folder(self._root) as folder:
                text = durable_files.read_file(name, within=folder, max_bytes=_MAX_BYTES).decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise SigningUnavailable(f"{name} in {self._root} cannot be read") from error
        return text.strip() if strip else text
