"""Calls to an S3 server: each checks what the server answers, and raises this package's errors only.

`s3_client.py` has the client and its errors.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from threading import Lock
from typing import Any

from app.storage.errors import BlobUnavailable, StorageError
from app.storage.s3_client import MISSING, KeepsVersions, ObjectMissing, Refused, as_storage_error, connect, plain
from app.storage.s3_names import BucketPlace

DELETED_AT_ONCE = 1000
"""The most keys of one DeleteObjects request (Amazon S3 API reference)."""

_ABSENT_SETTING = re.compile(r"NotImplemented|MethodNotAllowed|501|405|.*NotFound(Error)?|NoSuch.+Configuration")


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object in a listing; for an open upload, `upload_id` and the time at which it began."""

    key: str
    size: int
    written_at: datetime
    upload_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that the server holds of an open upload."""

    size: int
    etag: str


class S3Calls:
    """The calls of one store. Nothing is imported or connected before the first."""

    def __init__(self, place: BucketPlace, endpoint: str | None) -> None:
        """Store the arguments. Without an endpoint, boto3 asks Amazon's."""
        self.place = place
        self._endpoint = endpoint
        self._lock = Lock()

    @cached_property
    def _patient(self) -> Any:
        return connect(self._endpoint, quick=False)

    @cached_property
    def _quick(self) -> Any:
        return connect(self._endpoint, quick=True)

    def call(self, operation: str, *, quick: bool = False, **arguments: Any) -> dict[str, Any]:
        """Call an operation on the bucket, and return the answer.

        Raises ObjectMissing, DiskNearlyFull, KeepsVersions or another BlobUnavailable.
        """
        try:
            with self._lock:  # boto3 creates clients in one thread at a time
                client = self._quick if quick else self._patient
            answer: dict[str, Any] = getattr(client, operation)(Bucket=self.place.bucket, **arguments)
        except Exception as error:  # noqa: BLE001 - of boto3, urllib3 or a parser: each is a failure of the store
            raise as_storage_error(operation, error) from None
        _require_no_version(operation, answer)
        return answer

    def setting(self, operation: str) -> dict[str, Any]:
        """Ask for a setting of the bucket; empty if there is none, or if the server does not have such settings."""
        try:
            return self.call(operation)
        except Refused as refused:
            if _ABSENT_SETTING.fullmatch(refused.code):
                return {}
            raise
        except ObjectMissing:
            return {}

    def put(self, key: str, content: bytes, *, if_absent: bool = False) -> None:
        """Store a small object. `if_absent` holds only where the server supports it; read the object afterwards."""
        extra: dict[str, Any] = {"IfNoneMatch": "*"} if if_absent else {}
        self.call("put_object", Key=key, Body=content, ContentMD5=_md5(content)[0], **extra)

    def get(self, key: str, *, quick: bool = False) -> bytes:
        """Return a small object as a whole. Raises ObjectMissing, BlobUnavailable."""
        answer = self.call("get_object", quick=quick, Key=key)
        return _body(answer, answer["ContentLength"])

    def get_range(self, key: str, first: int, last: int, size: int | None = None) -> tuple[bytes, int]:
        """Return bytes `first` to `last` (inclusive) of an object, and the object's size in bytes. Without `size`, an
        object that ends before `last` is no error.

        Raises ObjectMissing, BlobUnavailable (also for a range that does not exist).
        """
        answer = self.call("get_object", Key=key, Range=f"bytes={first}-{last}")
        said = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", answer.get("ContentRange", ""))
        begins, ends, total = (int(each) for each in said.groups()) if said else (-1, -1, -1)
        expected = last if size is not None else min(last, total - 1)
        if begins != first or ends != expected or (size is not None and size != total):
            answer["Body"].close()
            raise BlobUnavailable("blob store, get_object: not the bytes that were asked for")
        return _body(answer, ends - begins + 1), total

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes, None if there is none."""
        try:
            return int(self.call("head_object", Key=key)["ContentLength"])
        except ObjectMissing:
            return None

    def begin(self, key: str) -> str:
        """Begin an upload, and return its id."""
        return str(self.call("create_multipart_upload", Key=key)["UploadId"])

    def put_part(self, key: str, upload_id: str, number: int, content: bytes | bytearray) -> str:
        """Store a part and return its ETag. Raises ObjectMissing if the upload was aborted, BlobUnavailable.

        An ETag that is no MD5 of the bytes is refused, unless the server encrypts by KMS, where it never is.
        """
        digest, expected = _md5(content)
        answer = self.call(
            "upload_part", Key=key, UploadId=upload_id, PartNumber=number, Body=content, ContentMD5=digest
        )
        etag = str(answer.get("ETag", ""))
        if etag.strip('"') != expected and "kms" not in answer.get("ServerSideEncryption", ""):
            raise BlobUnavailable("blob store, upload_part: the ETag is not that of the bytes sent")
        return etag

    def complete(self, key: str, upload_id: str, etags: Sequence[str]) -> None:
        """Turn an upload into an object. An error does not prove that there is none."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        self.call("complete_multipart_upload", Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload, if it is open."""
        try:
            self.call("abort_multipart_upload", Key=key, UploadId=upload_id)
        except ObjectMissing:
            return

    def parts(self, key: str, upload_id: str) -> list[StoredPart]:
        """Return the parts of an upload by number, from 1 on. Raises ObjectMissing if it is not open."""
        found: list[StoredPart] = []
        marker = 0
        while True:
            more: dict[str, Any] = {"PartNumberMarker": marker} if marker else {}
            answer = self.call("list_parts", Key=key, UploadId=upload_id, **more)
            for part in answer.get("Parts", []):
                if part["PartNumber"] != len(found) + 1:
                    raise BlobUnavailable("blob store, list_parts: a part is missing")
                found.append(StoredPart(part["Size"], part["ETag"]))
            if not answer.get("IsTruncated") or len(found) == marker:
                return found
            marker = len(found)

    def delete(self, keys: Sequence[str]) -> dict[str, StorageError]:
        """Delete objects; return the failure of each that the server refused to delete."""
        failures: dict[str, StorageError] = {}
        for first in range(0, len(keys), DELETED_AT_ONCE):
            some = keys[first : first + DELETED_AT_ONCE]
            try:
                answer = self.call("delete_objects", Delete={"Objects": [{"Key": key} for key in some]})
            except StorageError as failure:
                failures |= dict.fromkeys(some, failure)
                continue
            for each in answer.get("Errors", []):
                if each.get("Code") not in MISSING:
                    failures[each["Key"]] = BlobUnavailable(f"blob store, delete_objects: {plain(each.get('Code'))}")
        return failures

    def objects(self, prefix: str, *, after: str = "", most: int = 1000) -> tuple[list[FoundObject], bool]:
        """Return one page of the objects below a prefix with keys above `after`, and whether more follow.

        Raises BlobUnavailable for an answer that is not in order: with it, absence could not be told.
        """
        more: dict[str, Any] = {"StartAfter": after} if after else {}
        answer = self.call("list_objects_v2", Prefix=prefix, MaxKeys=most, **more)
        found = [FoundObject(each["Key"], each["Size"], each["LastModified"]) for each in answer.get("Contents", [])]
        keys = [after, *(each.key for each in found)]
        truncated = bool(answer.get("IsTruncated"))
        if any(one >= other for one, other in pairwise(keys)) or (truncated and not found):
            raise BlobUnavailable("blob store, list_objects_v2: the listing is out of order")
        if not all(each.key.startswith(prefix) for each in found):
            raise BlobUnavailable("blob store, list_objects_v2: the listing shows other keys")
        return found, truncated

    def uploads(self, prefix: str) -> Iterator[FoundObject]:
        """Yield the open uploads below a prefix."""
        markers: dict[str, Any] = {}
        while True:
            answer = self.call("list_multipart_uploads", Prefix=prefix, **markers)
            for each in answer.get("Uploads", []):
                if each["Key"].startswith(prefix):
                    yield FoundObject(each["Key"], 0, each["Initiated"], each["UploadId"])
            if not answer.get("IsTruncated"):
                return
            following = {
                "KeyMarker": answer.get("NextKeyMarker", ""),
                "UploadIdMarker": answer.get("NextUploadIdMarker", ""),
            }
            if following == markers or not following["KeyMarker"]:
                raise BlobUnavailable("blob store, list_multipart_uploads: the listing does not advance")
            markers = following


def _require_no_version(operation: str, answer: dict[str, Any]) -> None:
    for each in (answer, *answer.get("Deleted", [])):
        if each.get("VersionId", "null") not in {"null", ""} or each.get("DeleteMarker"):
            raise KeepsVersions(f"blob store, {operation}: the bucket keeps versions, which outlive a deletion")


def _body(answer: dict[str, Any], length: int) -> bytes:
    """Read an answer's body. Raises BlobUnavailable unless it has `length` bytes."""
    try:
        content: bytes = answer["Body"].read()
    except Exception as error:  # noqa: BLE001 - as above
        raise as_storage_error("get_object", error) from None
    finally:
        answer["Body"].close()
    if len(content) != length:
        raise BlobUnavailable("blob store, get_object: the answer has another length than announced")
    return content


def _md5(content: bytes | bytearray) -> tuple[str, str]:
    """Return the MD5 as Content-MD5 and as an ETag have it. It finds errors of the way; no security rests on it."""
    digest = hashlib.md5(content, usedforsecurity=False)
    return base64.b64encode(digest.digest()).decode(), digest.hexdigest()
