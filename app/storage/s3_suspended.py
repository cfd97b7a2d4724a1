"""The state of a suspended blob, so that any node can continue it.

A part of an upload has at least 5 MiB, so the bytes behind the last whole part lie in an object of their own, with the
upload's id and its number of parts. There is one such object for each size at which the blob was suspended; the row of
the upload says which one counts, and the next resumption deletes the others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.storage.errors import BlobGone, BlobUnavailable
from app.storage.s3_calls import S3Calls
from app.storage.s3_client import ObjectMissing
from app.storage.s3_names import SUSPENDED_MARK

PART_BYTES = 8 * 1024 * 1024
PARTS_OF_A_SIZE = 2_000
"""So many parts have the same size; then it doubles, so that the 10,000 parts of an upload hold 484 GiB."""
LARGEST_BLOB = sum(PART_BYTES << doubled for doubled in range(5)) * PARTS_OF_A_SIZE
MOST_PARTS = 5 * PARTS_OF_A_SIZE


def part_bytes(number: int) -> int:
    """Return the size of a part, whose number counts from 1 on; only the last part of a blob is smaller."""
    return PART_BYTES << ((number - 1) // PARTS_OF_A_SIZE)


@dataclass(frozen=True, slots=True)
class SuspendedBlob:
    """An open upload with its parts, and the bytes behind them."""

    upload_id: str
    etags: tuple[str, ...]
    rest: bytes

    @property
    def size(self) -> int:
        """The blob's size in bytes so far."""
        return sum(part_bytes(number) for number in range(1, len(self.etags) + 1)) + len(self.rest)


def store(calls: S3Calls, blob_id: str, blob: SuspendedBlob) -> None:
    """Store the state. Raises BlobGone if the upload was aborted meanwhile, BlobUnavailable."""
    key = calls.place.suspended_key(blob_id, blob.size)
    head = json.dumps({"upload": blob.upload_id, "parts": len(blob.etags)})
    calls.put(key, head.encode() + b"\n" + blob.rest)
    try:  # only now: a deletion that aborted the upload before may have listed the objects already
        if len(calls.parts(calls.place.key_of(blob_id), blob.upload_id)) < len(blob.etags):
            raise BlobUnavailable("blob store, list_parts: a part is missing")
    except ObjectMissing:
        calls.delete([key])
        raise BlobGone(f"the blob {blob_id} was deleted while it was written") from None


def load(calls: S3Calls, blob_id: str, size: int, *, drop_rest: bool) -> SuspendedBlob:
    """Return the state at `size` bytes, and delete the states at others.

    Raises BlobGone if there is none, its upload is not open, or, unless `drop_rest`, something was written behind it;
    BlobUnavailable.
    """
    key = calls.place.key_of(blob_id)
    try:
        head, _, rest = calls.get(calls.place.suspended_key(blob_id, size)).partition(b"\n")
        said = json.loads(head)
        upload_id, count = str(said["upload"]), int(said["parts"])
        parts = calls.parts(key, upload_id)
    except (ObjectMissing, ValueError, KeyError, TypeError):
        raise BlobGone(f"there is no unfinished blob {blob_id} of {size} bytes") from None
    blob = SuspendedBlob(upload_id, tuple(part.etag for part in parts[:count]), rest)
    whole = [part.size for part in parts[:count]] == [part_bytes(number) for number in range(1, count + 1)]
    others = [each.key for each in calls.objects(key + SUSPENDED_MARK)[0] if not each.key.endswith(f".{size}")]
    behind = len(parts) > count or any(int(other.rpartition(SUSPENDED_MARK)[2]) > size for other in others)
    if not whole or blob.size != size or (behind and not drop_rest):
        raise BlobGone(f"there is no unfinished blob {blob_id} of {size} bytes")
    calls.delete(others)  # a state that stays is deleted with the blob
    return blob
