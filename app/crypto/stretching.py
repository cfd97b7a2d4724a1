"""Stretches the password of a share with Argon2id (RFC 9106). Server only: the client does not install `argon2`."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw

from app.crypto.errors import CryptoError
from app.crypto.password import normalise

SALT_BYTES = 16
STRETCHED_BYTES = 32
_ARGON2_VERSION = 0x13

# Limits of RFC 9106 section 3.1.
_MAX_TIME = _MAX_MEMORY_KIB = 2**32 - 1
_MAX_LANES = 2**24 - 1
_MIN_MEMORY_KIB_PER_LANE = 8

CEILING_TIME = 10
CEILING_MEMORY_KIB = 256 * 1024
CEILING_LANES = 16
"""Upper limits of stored parameters. A row above them was altered: hashing with its parameters would block the queue or
exhaust memory. The low-memory recommendation of RFC 9106 section 4 is 3 passes, 64 MiB, 4 lanes.
"""


@dataclass(frozen=True)
class Argon2Parameters:
    """The cost of one run; the default is the second recommendation of RFC 9106 section 4.

    Time in passes, memory in KiB, parallel lanes. Stored with each share, so that defaults can be raised later.
    Raises ValueError outside the limits of RFC 9106.
    """

    time: int = 3
    memory_kib: int = 65536
    lanes: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.time <= _MAX_TIME:
            raise ValueError("Argon2 time must be at least 1")
        if not 1 <= self.lanes <= _MAX_LANES:
            raise ValueError("Argon2 lanes must be between 1 and 16777215")
        if not _MIN_MEMORY_KIB_PER_LANE * self.lanes <= self.memory_kib <= _MAX_MEMORY_KIB:
            raise ValueError("Argon2 memory must be at least 8 KiB for each lane")

    def exceeds(self, configured: Argon2Parameters) -> bool:
        """Return whether a parameter is above both its ceiling and the configured value."""
        return (
            self.time > max(CEILING_TIME, configured.time)
            or self.memory_kib > max(CEILING_MEMORY_KIB, configured.memory_kib)
            or self.lanes > max(CEILING_LANES, configured.lanes)
        )


def new_salt() -> bytes:
    """Return a random salt of 16 bytes for one share's password."""
    return secrets.token_bytes(SALT_BYTES)


def stretch(password: str, salt: bytes, parameters: Argon2Parameters) -> bytes:
    """Return the 32-byte Argon2id hash (version 0x13) of the normalised password.

    Uses `parameters.memory_kib` of memory and one thread per lane: callers limit how many run at once. Raises
    MalformedSecret for a malformed password (before any work), CryptoError if memory runs out.
    """
    normalised = normalise(password)
    if len(salt) != SALT_BYTES:
        raise ValueError("an Argon2 salt has 16 bytes")
    try:
        return hash_secret_raw(
            normalised.encode("ascii"),
            salt,
            time_cost=parameters.time,
            memory_cost=parameters.memory_kib,
            parallelism=parameters.lanes,
            hash_len=STRETCHED_BYTES,
            type=Type.ID,
            version=_ARGON2_VERSION,
        )
    except HashingError:
        raise CryptoError("Argon2id could not run; is there enough memory for its parameters?") from None
