"""Each implementation of a port passes the port's contract."""

import pytest

from app.storage.local_disk import LocalDisk
from app.storage.vault_folder import VaultFolder
from tests.integration.storage.blob_store_contract import BlobStoreContract
from tests.integration.storage.in_memory import CAPACITY, InMemoryBlobs, InMemoryVault
from tests.integration.storage.key_vault_contract import KeyVaultContract
from tests.integration.storage.s3_servers import bucket_of


class TestLocalDisk(BlobStoreContract):
    @pytest.fixture
    def empty(self, tmp_path):
        return LocalDisk(tmp_path / "blobs", min_free_bytes=0)

    @pytest.fixture
    def full(self, tmp_path):
        return LocalDisk(tmp_path / "full", min_free_bytes=1 << 62)


class TestInMemoryBlobs(BlobStoreContract):
    @pytest.fixture
    def empty(self):
        return InMemoryBlobs()

    @pytest.fixture
    def full(self):
        return InMemoryBlobs(min_free_bytes=CAPACITY + 1)


class TestS3Bucket(BlobStoreContract):
    @pytest.fixture
    def empty(self, object_store):
        return bucket_of(object_store)

    @pytest.fixture
    def full(self, object_store, faults):
        store = bucket_of(object_store, faults.endpoint)
        faults.refuse("POST", "uploads", status=507, code="XMinioStorageFull")
        return store


class TestVaultFolder(KeyVaultContract):
    @pytest.fixture
    def empty(self, tmp_path):
        return VaultFolder(tmp_path / "vault")


class TestInMemoryVault(KeyVaultContract):
    @pytest.fixture
    def empty(self):
        return InMemoryVault()


@pytest.mark.postgres
class TestVaultPostgres(KeyVaultContract):
    @pytest.fixture
    def empty(self, vault_server):
        return vault_server.vault()
