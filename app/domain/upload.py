"""Rules of resumable uploads (tus 1.0.0, tus.io/protocols/resumable-upload): offsets, lengths, checksums, expiry."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.errors import ChecksumMismatch, InvalidRequest, TooLarge, UploadInProgress, WrongOffset

IDLE = timedelta(hours=24)
"""How long an unfinished upload is kept after its last part; never past the expiry of its transfer."""

CHECKED_PART_BYTES = 16 * 1024 * 1024
"""The largest part that may carry a checksum. It is held in memory until the checksum is known to be right, because
bytes that were encrypted cannot be taken back without using their nonces twice.
"""

PART_TYPE = "application/offset+octet-stream"
"""The media type of a part."""

CHECKSUMS = ("sha1", "sha256")
"""Algorithms of `Upload-Checksum`. sha1 is the one that every tus server must know; it detects accidents only."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """The expected digest of a part's bytes."""

    algorithm: str
    digest: bytes

    @classmethod
    def parse(cls, header: str) -> Checksum:
        """Parse `Upload-Checksum`. Raises InvalidRequest."""
        algorithm, _, encoded = header.strip().partition(" ")
        try:
            digest = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            digest = b""
        if algorithm not in CHECKSUMS or len(digest) != hashlib.new(algorithm).digest_size:
            raise InvalidRequest(f"Upload-Checksum: one of {', '.join(CHECKSUMS)}, a space, and the digest in Base64.")
        return cls(algorithm, digest)

    def check(self, part: bytes | bytearray) -> None:
        """Raise ChecksumMismatch unless the part has this digest."""
        if not hmac.compare_digest(hashlib.new(self.algorithm, part).digest(), self.digest):
            raise ChecksumMismatch


def expiry_of(transfer_expires_at: datetime, now: datetime) -> datetime:
    """Return when an upload expires that received something now."""
    return min(transfer_expires_at, now + IDLE)


def require_idle(part_until: datetime | None, now: datetime) -> None:
    """Raise UploadInProgress while another request holds the upload."""
    if part_until is not None and now < part_until:
        raise UploadInProgress


def require_offset(asked: int, *, offset: int, length: int, announced: int | None) -> None:
    """Refuse a part that does not begin at the upload's offset, or that would end behind its length.

    Raises WrongOffset, TooLarge.
    """
    if asked != offset:
        raise WrongOffset(offset=offset)
    if (announced or 0) > length - offset:
        raise TooLarge("The part is longer than what is left of the upload.", max_bytes=length - offset)
