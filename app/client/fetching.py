"""Fetches the files of a share: resumes after a failure, and when it is started again.

Each file is decrypted and checked while it arrives, into a hidden file in the recipient's folder. Once it is whole and
durable, it gets its place, in the folders that the depositor sent (`app/client/placing.py`). A file that exists is
never replaced: the new one becomes `name (2).ext`. Started again in the same folder, with the same link and password,
it goes on with the same claim. Once everything has arrived, and the service was told so, a further start reports what
was received (`app/client/received.py`).
"""

from __future__ import annotations

import errno
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from app.client.errors import NotConfigured, ServiceRefused
from app.client.link import Link
from app.client.patience import Patience
from app.client.placing import Folder
from app.client.received import Received
from app.client.sealed_claim import ClaimedFile, SealedClaim, look
from app.client.state import ClaimRecord, ClientState
from app.client.unfinished import forget, part_name, record_part, remove_parts
from app.client.watcher import Watcher
from app.crypto.chunked import CHUNK_BYTES
from app.domain import share as share_rules
from app.domain.portable_names import distinct_paths
from app.domain.share import ShareState

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that arrived whole. `size` in bytes."""

    path: Path
    size: int


class Fetching:
    """One share, fetched into a folder."""

    def __init__(
        self, http: httpx.Client, state: ClientState, link: Link, *, folder: Path, watcher: Watcher | None = None
    ) -> None:
        """`http` has the service's URL; `folder` exists."""
        self._http, self._state, self._link, self._folder = http, state, link, folder.resolve()
        self._watcher = watcher or Watcher()

    def look(self, *, patience_seconds: float = 600) -> dict[str, Any]:
        """Return the share's state as the service reports it, without claiming it. If the share has ended, remove its
        unfinished files.

        Raises Refusal if the share has ended, or was claimed elsewhere; ServiceRefused, InUse.
        """
        shown = Patience(patience_seconds, waiting=self._watcher.waiting).call(lambda: look(self._http, self._link))
        state = ShareState(shown["state"])
        with self._state.claiming(self._link.share_id) as record:
            self._require_own(record)
            record.server, record.expires_at = self._link.server, shown["expires_at"]
            ended = share_rules.refusal(state)
            if ended is not None and not (state == ShareState.CLAIMED and record.was_kept):
                self._forget(record)
                raise ended
            record.save()
        return shown

    def run(self, password: str, *, patience_seconds: float = 600) -> list[FetchedFile]:
        """Claim, fetch every file, and tell the service that everything has arrived.

        Raises ServiceRefused; ServiceUnavailable if a later attempt may succeed; InUse; CryptoError if a file was
        altered; OSError.
        """
        patience = Patience(patience_seconds, waiting=self._watcher.waiting)
        with self._state.claiming(self._link.share_id) as record:
            self._require_own(record)
            record.save()
            try:
                fetched = self._all(record, password, patience)
            except ServiceRefused as refusal:
                if refusal.status == httpx.codes.GONE:  # what has arrived can never be completed
                    self._forget(record)
                raise
            self._forget(record)
        return fetched

    def _all(self, record: ClaimRecord, password: str, patience: Patience) -> list[FetchedFile]:
        claim = patience.call(lambda: SealedClaim.redeem(self._http, self._link, password, token=record.token))
        record.server, record.claim_id = self._link.server, claim.id
        record.expires_at = record.expires_at or claim.expires_at
        record.save()
        names = distinct_paths((file.meta.path, file.meta.name) for file in claim.files)
        self._watcher.began([(name, file.size) for name, file in zip(names, claim.files, strict=True)])
        fetched = [self._fetch(record, claim, index, names[index], patience) for index in range(len(names))]
        remove_parts(record)
        received = Received.now(self._link.share_id, self._folder, record.expires_at, [file.path for file in fetched])
        received.save(self._state)
        patience.renew()
        patience.call(claim.complete)
        received.confirmed(self._state)
        return fetched

    def _require_own(self, record: ClaimRecord) -> None:
        """Raise NotConfigured if another service has a share of this id, whose claim must not reach this one."""
        if record.server not in {"", self._link.server}:
            raise NotConfigured(f"a link of this id is being fetched from {record.server}: finish that first")

    def _forget(self, record: ClaimRecord) -> None:
        for part in self._folder.glob(part_name(self._link.share_id, "*")):  # of a version that recorded none
            part.unlink()
        forget(record)

    def _fetch(self, record: ClaimRecord, claim: SealedClaim, index: int, name: str, patience: Patience) -> FetchedFile:
        file = claim.files[index]
        part = self._folder / part_name(self._link.share_id, file.number)
        placed = Path(record.placed.get(str(file.number), ""))
        if part.exists() and placed.is_file() and placed.samefile(part):
            part.unlink()  # killed between the two steps that give a file its name
        if placed.is_file() and not part.exists() and placed.stat().st_size == file.size:
            self._watcher.moved(index, file.size)
            return FetchedFile(placed, file.size)
        patience.renew()
        record_part(record, part)
        with _Unfinished(part, file) as unfinished:
            while not unfinished.is_whole:
                try:
                    for piece in claim.fetch(file.number, chunks=unfinished.chunks()):
                        unfinished.write(piece)
                        self._watcher.moved(index, unfinished.size)
                        patience.renew()
                    unfinished.check()
                except ServiceRefused as failure:
                    patience.wait_after(failure)
        return FetchedFile(self._place(record, file.number, part, name), file.size)

    def _place(self, record: ClaimRecord, number: int, part: Path, relative: str) -> Path:
        """Give a whole file its place: a path below the folder, with `/` between its parts, or the next one free."""
        *folders, name = relative.split("/")
        with Folder.entered(self._folder, folders) as folder:
            for path in folder.free(name):
                record.placed[str(number)] = str(path)
                record.save()
                if folder.put(part, path.name):
                    return path
        raise AssertionError("names do not end")


class _Unfinished:
    """A file while it arrives. What an earlier run left counts only up to its last whole chunk, and only if the file's
    checksum can be compared at the end: a power cut may have left zeros.
    """

    def __init__(self, path: Path, file: ClaimedFile) -> None:
        self._path, self._file = path, file
        self.is_whole = False

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._path, flags, 0o600)
        self._out = os.fdopen(descriptor, "r+b", buffering=0)
        found = os.fstat(descriptor)
        if found.st_nlink > 1 or (hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o077)):
            self._out.close()
            raise PermissionError(errno.EPERM, "others can read this file: remove it", str(self._path))
        if self._file.meta.crc32 is None:
            self._out.truncate(0)
        self._inherited = self.chunks() > 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._out.close()

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        return self._out.tell()

    def chunks(self) -> int:
        """Cut off what is no whole chunk, and return how many chunks are left."""
        found = self._out.seek(0, os.SEEK_END)
        chunks = found // CHUNK_BYTES if found <= self._file.size else 0
        self._out.truncate(chunks * CHUNK_BYTES)
        self._out.seek(0, os.SEEK_END)
        return chunks

    def write(self, piece: bytes) -> None:
        """Append."""
        view = memoryview(piece)
        while view:
            view = view[self._out.write(view) :]

    def check(self) -> None:
        """Make it durable. If what an earlier run left is not of this file, begin it again, once."""
        os.fsync(self._out.fileno())
        self.is_whole = not self._inherited or self._file.meta.crc32 == self._checksum()
        if not self.is_whole:
            self._out.truncate(0)
            self._inherited = False

    def _checksum(self) -> int:
        self._out.seek(0)
        checksum = 0
        while piece := self._out.read(READ_BYTES):
            checksum = zlib.crc32(piece, checksum)
        return checksum
