"""Errors of the key vault and the blob store. Messages contain ids and paths, never keys."""


class StorageError(Exception):
    """Keys or bytes could not be stored, read or removed."""


class VaultUnavailable(StorageError):
    """The key vault is unusable: unmounted, no permission, I/O error, altered, or of another installation."""


class VaultKeepsKeys(VaultUnavailable):
    """The configuration of the vault's PostgreSQL would keep destroyed keys; `problems` names each setting."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems, each with what is right."""
        super().__init__(
            f"the vault's PostgreSQL would keep destroyed keys: {'; '.join(problems)}. "
            "deploy/vault-postgresql.conf has all settings"
        )
        self.problems = problems


class SigningUnavailable(StorageError):
    """The signer's folder or its key cannot be read or written."""


class KeyExists(StorageError):
    """The vault already has an entry with this name; shred keys are never replaced."""


class KeyGone(StorageError):
    """The vault has no such entry: it was destroyed or never existed."""


class KeyExpired(KeyGone):
    """The entry has expired; this is raised even if it is still on disk."""


class BlobGone(StorageError):
    """The blob was deleted or never existed."""


class BlobUnavailable(StorageError):
    """The blob store is unusable: unmounted, I/O error, truncated blob, or of another installation."""


class BlobBusy(StorageError):
    """A reader or writer on this node still has the blob open."""


class DiskNearlyFull(StorageError):
    """The write would leave less free space than `min_free_bytes`."""
