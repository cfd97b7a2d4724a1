"""Names of objects in a bucket: which one is a blob, and where the installation's mark lies.

A blob is `<prefix>/blobs/<id>` once it is complete, and an open multipart upload of that key before. A suspended blob
also has `<prefix>/blobs/<id>.<size>` (`s3_suspended.py`). So everything of a blob begins with its id, and a listing
shows whether anything of it is left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.crypto.token import ID_CHARS, is_id

BLOBS_FOLDER = "blobs/"
SUSPENDED_MARK = "."

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)*")
_PREFIX_MAX = 200


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A bucket, and the prefix below which this store's objects lie (empty, or without a slash at either end)."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, value: str) -> BucketPlace:
        """Parse `s3://bucket/prefix`. Raises ValueError."""
        bucket, slash, prefix = value.removeprefix("s3://").partition("/")
        prefix = prefix.removesuffix("/") if slash else ""
        if not value.startswith("s3://") or not _BUCKET.fullmatch(bucket) or ".." in bucket:
            raise ValueError("must be s3://bucket or s3://bucket/prefix, with the bucket's name in lower case")
        if prefix and (len(prefix) > _PREFIX_MAX or not _PREFIX.fullmatch(prefix)):
            raise ValueError(f"has a prefix other than letters, digits, - _ . and / ({_PREFIX_MAX} at most)")
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".removesuffix("/")

    @property
    def installation_key(self) -> str:
        """The object with the installation's id."""
        return f"{self._folder}installation"

    @property
    def blobs_prefix(self) -> str:
        """What the key of every blob begins with."""
        return self._folder + BLOBS_FOLDER

    @property
    def _folder(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def key_of(self, blob_id: str) -> str:
        """Return the key of a blob. Only this method turns an id into a key. Raises ValueError."""
        if not is_id(blob_id):
            raise ValueError("a blob is named by an id")
        return self.blobs_prefix + blob_id

    def suspended_key(self, blob_id: str, size: int) -> str:
        """Return the key of the state of a blob that was suspended at `size` bytes."""
        return f"{self.key_of(blob_id)}{SUSPENDED_MARK}{size}"

    def blob_of(self, key: str) -> str | None:
        """Return the id of the blob that a key belongs to; None for a key that no store writes."""
        name = key.removeprefix(self.blobs_prefix)
        return blob_of_name(name) if key.startswith(self.blobs_prefix) else None

    def is_blob(self, key: str) -> bool:
        """Return whether this is the key of a complete blob."""
        return key.startswith(self.blobs_prefix) and is_id(key.removeprefix(self.blobs_prefix))


def blob_of_name(name: str) -> str | None:
    """Return the id of the blob that the last part of a key belongs to; None if it is no blob's."""
    blob_id, rest = name[:ID_CHARS], name[ID_CHARS:]
    if not is_id(blob_id) or (rest and not re.fullmatch(r"\.[0-9]+", rest, re.ASCII)):
        return None
    return blob_id
