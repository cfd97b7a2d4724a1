"""The client of an S3 server, made by boto3, and what its errors become.

boto3 belongs to the extra `s3`, so nothing of it is imported before a bucket is used. It repeats a call that failed for
a reason that may pass, with growing pauses. No error quotes a server's words, only its code, a name such as
`ExpiredToken`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Any

from app.storage.errors import BlobUnavailable, DiskNearlyFull, StorageError

THREADS = 32
"""Threads for calls, and connections to the server."""

ATTEMPTS = 4
CONNECT_SECONDS, READ_SECONDS = 3, 15
QUICK_SECONDS = 3
"""For the check of readiness, which must not wait for a server that hangs."""

MISSING = frozenset({"404", "NoSuchKey", "NoSuchUpload"})
_FULL = frozenset(
    {"507", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage"}
)


class ObjectMissing(BlobUnavailable):
    """The server has no such object or upload. Where absence would prove nothing, this stays a BlobUnavailable."""


class KeepsVersions(BlobUnavailable):
    """The server's answer names a version, which would outlive a deletion."""


class Refused(BlobUnavailable):
    """A refusal, with the server's code."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def connect(endpoint: str | None, *, quick: bool) -> Any:
    """Return a client. A `quick` one waits little and repeats nothing. Raises BlobUnavailable without boto3."""
    session = _session()
    config = import_module("botocore.config").Config(
        connect_timeout=QUICK_SECONDS if quick else CONNECT_SECONDS,
        read_timeout=QUICK_SECONDS if quick else READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1 if quick else ATTEMPTS},
        max_pool_connections=THREADS,
        ignore_configured_endpoint_urls=True,  # CADUCEE_S3_ENDPOINT alone, which is checked
        request_checksum_calculation="when_required",  # other servers than Amazon's refuse the newer checksums
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    region = session.region_name or "us-east-1"
    return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)


def as_storage_error(operation: str, error: Exception) -> StorageError:
    """Return the error of this package for one of boto3, of a connection, or of an answer that cannot be parsed."""
    if isinstance(error, StorageError):
        return error
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else type(error).__name__
    message = f"blob store, {operation}: {plain(code)}"
    if code in MISSING:
        return ObjectMissing(message)
    if code in _FULL:
        return DiskNearlyFull(message)
    return Refused(message, plain(code))


def plain(code: object) -> str:
    """Return a server's code if it is a name, so that no words of a server reach a log."""
    return code if isinstance(code, str) and re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else "error"


@cache
def _session() -> Any:
    """Return the session of this process, which parses the description of the API once."""
    try:
        return import_module("boto3").session.Session()
    except ModuleNotFoundError:
        raise BlobUnavailable("CADUCEE_BLOBS is in a bucket, which needs the extra s3: caducee[server,s3]") from None
