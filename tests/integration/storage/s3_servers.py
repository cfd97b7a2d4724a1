"""The S3 servers that the tests of this folder use, one of each kind per test process, started when first needed."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.storage.s3 import S3Bucket
from app.storage.s3_names import BucketPlace
from tests.faulty_store import Faults, faulty
from tests.marks import in_test_all
from tests.object_stores import CREDENTIALS, ObjectStore, started

KINDS = ("rclone", in_test_all("seaweedfs"), in_test_all("moto"))
"""In `make test`, the one that starts in a fifth of a second stands for all."""


class Servers:
    """Started servers by kind."""

    def __init__(self, stack: ExitStack, folders: pytest.TempPathFactory) -> None:
        self._stack, self._folders = stack, folders
        self._started: dict[str, ObjectStore] = {}

    def get(self, kind: str) -> ObjectStore:
        if kind not in self._started:
            self._started[kind] = self._stack.enter_context(started(kind, self._folders.mktemp(kind)))
        return self._started[kind]


@pytest.fixture(scope="session")
def s3_servers(tmp_path_factory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, tmp_path_factory)


@pytest.fixture
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=KINDS)
def object_store(request, s3_servers, credentials) -> ObjectStore:
    store: ObjectStore = s3_servers.get(request.param)
    return store


def bucket_of(store: ObjectStore, endpoint: str | None = None) -> S3Bucket:
    """A blob store of its own in the server's bucket."""
    return S3Bucket(BucketPlace.parse(store.variables()["CADUCEE_BLOBS"]), endpoint=endpoint or store.endpoint)


def two_nodes(store: ObjectStore) -> tuple[S3Bucket, S3Bucket]:
    """One blob store, as two processes on different hosts see it."""
    place = BucketPlace.parse(store.variables()["CADUCEE_BLOBS"])
    one, other = (S3Bucket(place, endpoint=store.endpoint) for _ in range(2))
    for node in (one, other):
        node.adopt("installation-1")
    return one, other


@pytest.fixture
def faults(object_store) -> Iterator[Faults]:
    """A proxy in front of the server, to be given as the endpoint."""
    with faulty(object_store.endpoint) as between:
        yield between
