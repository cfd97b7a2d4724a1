"""Searching a bucket for blobs by id, and listing all of them, in constant memory.

One request lists 1,000 keys in order, but only those of one range. Many ids are looked for by walking the listing from
each wanted id to the next, few by one request each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from app.storage.blob_store import StoredBlob
from app.storage.s3_calls import FoundObject, S3Calls

SINGLY = 64
"""So many ids are looked for one by one before the listing is tried again."""

WORTH = 8
"""A page of the listing costs about as much as so many requests for one id."""


@dataclass(slots=True)
class Traces:
    """What a bucket holds of some blobs: objects and open uploads."""

    objects: list[FoundObject] = field(default_factory=list)
    uploads: list[FoundObject] = field(default_factory=list)


def find(calls: S3Calls, blob_ids: Collection[str]) -> Traces:
    """Return every object and open upload of these blobs. Raises BlobUnavailable."""
    wanted = sorted(set(blob_ids))
    return Traces(list(_objects_of(calls, wanted)), uploads_of(calls, wanted)) if wanted else Traces()


def uploads_of(calls: S3Calls, blob_ids: Collection[str]) -> list[FoundObject]:
    """Return the open uploads of these blobs. Raises BlobUnavailable."""
    place, wanted = calls.place, set(blob_ids)
    prefix = place.key_of(next(iter(wanted))) if len(wanted) == 1 else place.blobs_prefix
    return [each for each in calls.uploads(prefix) if place.blob_of(each.key) in wanted]


def _objects_of(calls: S3Calls, wanted: list[str]) -> Iterator[FoundObject]:
    """Yield the objects of the wanted blobs, whose ids are sorted."""
    position = 0
    while position < len(wanted):
        if len(wanted) - position >= WORTH:
            page, truncated = calls.objects(calls.place.blobs_prefix, after=_before(calls, wanted[position]))
            yield from (each for each in page if _is_in(wanted, calls.place.blob_of(each.key)))
            reached = calls.place.blob_of(page[-1].key) or "" if truncated else "\N{DELETE}"
            before, position = position, max(position, bisect_right(wanted, reached))
            if position - before >= WORTH or position == len(wanted):
                continue
        for blob_id in wanted[position : position + SINGLY]:
            yield from calls.objects(calls.place.key_of(blob_id))[0]
        position += SINGLY


def _before(calls: S3Calls, blob_id: str) -> str:
    """Return a key that lies before all keys of a blob, and behind those of most others."""
    return calls.place.key_of(blob_id)[:-1]


def _is_in(wanted: list[str], blob_id: str | None) -> bool:
    if blob_id is None:
        return False
    at = bisect_right(wanted, blob_id)
    return at > 0 and wanted[at - 1] == blob_id


def listing(calls: S3Calls) -> Iterator[StoredBlob]:
    """Yield all blobs: first the open uploads, so that a blob that is completed meanwhile is listed at least once, then
    the objects. A suspended blob appears once for its upload and once for each state. Other keys are skipped.
    """
    place = calls.place
    for upload in calls.uploads(place.blobs_prefix):
        if place.is_blob(upload.key):
            yield StoredBlob(_id(calls, upload), upload.size, upload.written_at, complete=False)
    after, truncated = "", True
    while truncated:
        page, truncated = calls.objects(place.blobs_prefix, after=after)
        for each in page:
            after = each.key
            if place.blob_of(each.key) is not None:
                yield StoredBlob(_id(calls, each), each.size, each.written_at, complete=place.is_blob(each.key))


def _id(calls: S3Calls, found: FoundObject) -> str:
    return calls.place.blob_of(found.key) or ""
