"""What the key vault and the blob store can refuse. Messages carry ids and places, never keys."""


class StorageError(Exception):
    """Keys or bytes could not be stored, read or removed."""


class VaultUnavailable(StorageError):
    """The key vault cannot be read or written: unmounted, no permission, I/O error, altered, another installation's."""


class KeyExists(StorageError):
    """The vault already holds an entry of this name; shred keys are never replaced."""


class KeyGone(StorageError):
    """The vault holds no such entry: destroyed, or never there."""


class KeyExpired(KeyGone):
    """The entry's second has come: refused, whatever is still on disk."""


class BlobGone(StorageError):
    """No such blob: deleted, or never there."""


class BlobUnavailable(StorageError):
    """The blob store cannot be read or written: unmounted, I/O error, cut short, another installation's."""


class BlobBusy(StorageError):
    """A stream on this node still has the blob open."""


class DiskNearlyFull(StorageError):
    """Writing would take the volume below the free space that is kept."""
