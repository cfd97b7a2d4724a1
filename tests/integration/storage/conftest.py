"""A key vault and a blob store of one installation, on a real disk."""

import pytest

from app.storage.local_disk import LocalDisk
from app.storage.vault_folder import VaultFolder
from tests.integration.storage.s3_servers import credentials, faults, object_store, s3_servers

__all__ = ["credentials", "faults", "object_store", "s3_servers"]


@pytest.fixture
def vault_root(tmp_path):
    return tmp_path / "vault"


@pytest.fixture
def vault(vault_root):
    vault = VaultFolder(vault_root)
    vault.adopt("installation-1")
    return vault


@pytest.fixture
def blobs_root(tmp_path):
    return tmp_path / "blobs"


@pytest.fixture
def disk(blobs_root):
    disk = LocalDisk(blobs_root, min_free_bytes=0)
    disk.adopt("installation-1")
    return disk
