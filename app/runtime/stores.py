"""Creates the configured blob store and key vault; only this module knows their implementations."""

from __future__ import annotations

from concurrent.futures import Executor

from app.runtime.settings import Settings
from app.storage.blob_store import BlobStore
from app.storage.key_vault import KeyVault
from app.storage.local_disk import LocalDisk
from app.storage.s3 import S3Bucket
from app.storage.vault_folder import VaultFolder
from app.storage.vault_postgres import VaultPostgres


def blob_store_of(
    settings: Settings, *, installation_id: str | None = None, threads: Executor | None = None
) -> BlobStore:
    """Return the blob store without accessing it. `threads` run the fsync of small blobs on a disk."""
    if settings.blobs_bucket is not None:
        return S3Bucket(settings.blobs_bucket, endpoint=settings.s3_endpoint, installation_id=installation_id)
    return LocalDisk(
        settings.blobs_dir,
        min_free_bytes=settings.min_free_bytes,
        installation_id=installation_id,
        threads=threads,
    )


def key_vault_of(settings: Settings, *, installation_id: str | None = None) -> KeyVault:
    """Return the key vault without accessing it. With `installation_id`, another installation's vault is refused."""
    if settings.vault_dir is None:
        return VaultPostgres(settings.vault_location, installation_id=installation_id)
    return VaultFolder(settings.vault_dir, installation_id=installation_id)
