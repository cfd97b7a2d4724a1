"""A blob store and a key vault in memory: they behave as their ports say, and keep nothing when the process ends."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.crypto.token import is_id
from app.domain.finding import Finding
from app.domain.vault_entry import EntryName
from app.storage.blob_store import StoredBlob
from app.storage.errors import (
    BlobBusy,
    BlobGone,
    BlobUnavailable,
    DiskNearlyFull,
    KeyExists,
    KeyExpired,
    KeyGone,
    StorageError,
    VaultUnavailable,
)
from app.storage.key_vault import FoundEntries, Mark, PurgeReport, is_mark
from app.storage.place import Place

CAPACITY = 1 << 40
HOUR = timedelta(hours=1)


@dataclass(eq=False)
class _Blob:
    content: bytearray = field(default_factory=bytearray)
    last_write_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    complete: bool = False
    streams: int = 0


class InMemoryBlobs:
    """A blob store in a dictionary."""

    def __init__(self, *, min_free_bytes: int = 0) -> None:
        self._blobs: dict[str, _Blob] = {}
        self._min_free_bytes = min_free_bytes
        self._installation: str | None = None

    async def create(self, blob_id: str) -> "InMemoryWriter":
        _require_ids([blob_id])
        self._require_adopted()
        if self.free_bytes() < self._min_free_bytes:
            raise DiskNearlyFull("the memory is nearly full")
        if blob_id in self._blobs:
            raise BlobUnavailable(f"the blob {blob_id} exists already")
        blob = self._blobs[blob_id] = _Blob(streams=1)
        return InMemoryWriter(self._blobs, blob_id, blob)

    async def resume(self, blob_id: str, size: int, *, drop_rest: bool = False) -> "InMemoryWriter":
        _require_ids([blob_id])
        self._require_adopted()
        blob = self._blobs.get(blob_id)
        if blob is None or blob.complete:
            raise BlobGone(f"there is no unfinished blob {blob_id}")
        if blob.streams:
            raise BlobBusy(f"the blob {blob_id} is being written")
        if len(blob.content) < size or (len(blob.content) > size and not drop_rest):
            raise BlobGone(f"there is no unfinished blob {blob_id} of {size} bytes")
        del blob.content[size:]
        blob.streams = 1
        return InMemoryWriter(self._blobs, blob_id, blob)

    async def open(self, blob_id: str) -> "InMemoryReader":
        _require_ids([blob_id])
        self._require_adopted()
        blob = self._blobs.get(blob_id)
        if blob is None or not blob.complete:
            raise BlobGone(f"there is no blob {blob_id}")
        blob.streams += 1
        return InMemoryReader(blob)

    async def delete(self, blob_ids: Sequence[str], *, force: bool = False) -> dict[str, StorageError]:
        _require_ids(blob_ids)
        failures: dict[str, StorageError] = {}
        for blob_id in blob_ids:
            blob = self._blobs.get(blob_id)
            if blob is not None and blob.streams and not force:
                failures[blob_id] = BlobBusy(f"a stream still has the blob {blob_id} open")
            else:
                self._blobs.pop(blob_id, None)
        return failures

    async def exists(self, blob_id: str) -> bool:
        return bool(await self.present([blob_id]))

    async def present(self, blob_ids: Sequence[str]) -> set[str]:
        _require_ids(blob_ids)
        self._require_adopted()
        return self._blobs.keys() & set(blob_ids)

    def listing(self) -> Iterator[StoredBlob]:
        self._require_adopted()
        for blob_id, blob in list(self._blobs.items()):
            yield StoredBlob(blob_id, len(blob.content), blob.last_write_at, blob.complete)

    def recognises(self, path: Path) -> bool:
        return False

    def place(self) -> Place:
        return Place("memory")

    def free_bytes(self) -> int:
        return CAPACITY - sum(len(blob.content) for blob in self._blobs.values())

    def findings(self, longest_life: timedelta) -> Iterator[Finding]:
        return iter(())

    def installation(self) -> str | None:
        return self._installation

    def adopt(self, installation_id: str) -> None:
        if self._installation not in {None, installation_id}:
            raise BlobUnavailable("the blob store belongs to another installation")
        self._installation = installation_id

    def _require_adopted(self) -> None:
        if self._installation is None:
            raise BlobUnavailable("nobody adopted this blob store")


class InMemoryWriter:
    """A blob being written."""

    def __init__(self, blobs: dict[str, _Blob], blob_id: str, blob: _Blob) -> None:
        self._blobs, self._blob_id, self._blob = blobs, blob_id, blob
        self._ended = False

    async def write(self, data: bytes | memoryview) -> None:
        if self._ended:
            raise BlobGone(f"the blob {self._blob_id} is no longer being written")
        self._blob.content += data
        self._blob.last_write_at = datetime.now(UTC)

    async def commit(self) -> None:
        if self._ended or self._blobs.get(self._blob_id) is not self._blob:
            raise BlobGone(f"the blob {self._blob_id} was deleted")
        self._ended, self._blob.complete = True, True
        self._blob.streams -= 1

    async def suspend(self) -> int:
        if self._ended or self._blobs.get(self._blob_id) is not self._blob:
            raise BlobGone(f"the blob {self._blob_id} was deleted")
        self._ended = True
        self._blob.streams -= 1
        return len(self._blob.content)

    async def abort(self) -> None:
        if not self._ended:
            self._ended = True
            if self._blobs.get(self._blob_id) is self._blob:
                del self._blobs[self._blob_id]


class InMemoryReader:
    """A blob being read."""

    def __init__(self, blob: _Blob) -> None:
        self._blob: _Blob | None = blob
        self.size = len(blob.content)

    async def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0:
            raise ValueError("offset and length are not negative")
        if self._blob is None or offset + length > self.size:
            raise BlobUnavailable("the blob was closed, or ends before")
        return bytes(self._blob.content[offset : offset + length])

    def close(self) -> None:
        if self._blob is not None:
            self._blob.streams -= 1
            self._blob = None


def _require_ids(blob_ids: Sequence[str]) -> None:
    if not all(is_id(blob_id) for blob_id in blob_ids):
        raise ValueError("a blob is named by an id")


class InMemoryVault:
    """A key vault in dictionaries. An hour has a key from its first entry until it has ended."""

    def __init__(self) -> None:
        self._keys: dict[EntryName, bytes] = {}
        self._hours: set[datetime] = set()
        self._marks: dict[str, str] = {}
        self._installation: str | None = None

    def create(self, name: EntryName, shred_key: bytes) -> None:
        self._require_adopted()
        if name.claimed:
            raise ValueError("the record of a claim holds no key")
        if name in self._keys:
            raise KeyExists("the vault holds this entry")
        self._hours.add(_hour_of(name.expires_at))
        self._keys[name] = bytes(shred_key)

    def open(self, name: EntryName, now: datetime) -> bytes:
        if now >= name.expires_at:
            raise KeyExpired("the shred key has expired")
        self._require_adopted()
        if not self.living([name]):
            raise KeyGone("the vault holds no such entry")
        return self._keys[name]

    def destroy(self, names: Iterable[EntryName]) -> None:
        self._require_adopted()
        for name in names:
            self._keys.pop(name, None)

    def record_claim(self, name: EntryName, token_digest: bytes) -> bytes:
        self._require_adopted()
        if _hour_of(name.expires_at) not in self._hours:
            raise KeyGone("the vault no longer holds this hour")
        return self._keys.setdefault(name, token_digest)

    def has_room(self) -> bool:
        self._require_adopted()
        return True

    def claim_recorded(self, name: EntryName) -> bytes | None:
        self._require_adopted()
        return self._keys.get(name)

    def living(self, names: Iterable[EntryName]) -> set[EntryName]:
        return {name for name in self.held(names) if _hour_of(name.expires_at) in self._hours}

    def find(self, transfer_ids: AbstractSet[str]) -> FoundEntries:
        return FoundEntries({name for name in self.names() if name.transfer_id in transfer_ids})

    def ending_by(self, moment: datetime) -> Iterator[EntryName]:
        return (name for name in self.names() if name.expires_at <= moment)

    def strangers(self) -> Iterator[str]:
        self._require_adopted()
        return iter(())

    def holds(self, name: EntryName) -> bool:
        return bool(self.held([name]))

    def held(self, names: Iterable[EntryName]) -> set[EntryName]:
        self._require_adopted()
        return self._keys.keys() & set(names)

    def purge(self, now: datetime) -> PurgeReport:
        self._require_adopted()
        ended = {hour for hour in self._hours if hour + HOUR <= now}
        due = [name for name in self._keys if name.expires_at <= now]
        self._hours -= ended
        self.destroy(due)
        return PurgeReport(len(due), len(ended), failed=(), due_left=0)

    def names(self) -> Iterator[EntryName]:
        self._require_adopted()
        return iter(list(self._keys))

    def ended_hours(self, now: datetime) -> int:
        self._require_adopted()
        return sum(hour + HOUR <= now for hour in self._hours)

    def destroy_everything(self) -> int:
        self._require_adopted()
        destroyed = len(self._keys)
        self._keys.clear()
        self._hours.clear()
        return destroyed

    def recognises(self, file_name: str) -> bool:
        return False

    def place(self) -> Place:
        return Place("memory")

    def configuration_problems(self) -> list[str]:
        return []

    def close(self) -> None:
        pass

    def content(self) -> str | None:
        return None if self._installation is None else "installation"

    def installation(self) -> str | None:
        return self._installation

    def adopt(self, installation_id: str) -> None:
        if self._installation not in {None, installation_id}:
            raise VaultUnavailable("the key vault belongs to another installation")
        self._installation = installation_id

    def write_mark(self, text: str, mark: str = Mark.HIGH_WATER) -> None:
        if not is_mark(mark):
            raise ValueError("no mark has this name")
        self._require_adopted()
        self._marks[mark] = text

    def exchange_mark(self, before: str, after: str, mark: str = Mark.HIGH_WATER) -> bool:
        if self.read_mark(mark) != before:
            return False
        self.write_mark(after, mark)
        return True

    def read_mark(self, mark: str = Mark.HIGH_WATER) -> str | None:
        self._require_adopted()
        return self._marks.get(mark)

    def _require_adopted(self) -> None:
        if self._installation is None:
            raise VaultUnavailable("nobody adopted this vault")


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
