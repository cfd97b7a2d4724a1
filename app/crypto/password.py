"""The password of a share: made here, told by telephone, typed by a person, stretched with Argon2id (RFC 9106).

It is generated, never chosen: 80 random bits in Crockford's base32, whose alphabet has no I, L, O or U.
"""

import secrets
import unicodedata
from dataclasses import dataclass

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw

from app.crypto.errors import CryptoError, MalformedSecret

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PASSWORD_CHARS = 16
SALT_BYTES = 16
STRETCHED_BYTES = 32
_GROUP_CHARS = 4
_MAX_TYPED_CHARS = 256
_MISREAD = str.maketrans("OIL", "011")
_MINUS_SIGN = "\u2212"  # the one dash that Unicode files under mathematics (Sm)
_ARGON2_VERSION = 0x13

# Limits of RFC 9106 section 3.1.
_MAX_TIME = _MAX_MEMORY_KIB = 2**32 - 1
_MAX_LANES = 2**24 - 1
_MIN_MEMORY_KIB_PER_LANE = 8


@dataclass(frozen=True)
class Argon2Parameters:
    """Cost of one stretching; the default is the second recommendation of RFC 9106 section 4.

    time in passes, memory in KiB, lanes in parallel. Stored with each share, so that defaults can rise later.
    Raises ValueError for anything outside the limits of RFC 9106.
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


def new_password() -> str:
    """Return a fresh password, written as `XXXX-XXXX-XXXX-XXXX`."""
    characters = "".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_CHARS))
    return "-".join(characters[i : i + _GROUP_CHARS] for i in range(0, PASSWORD_CHARS, _GROUP_CHARS))


def normalise(text: str) -> str:
    """Return the 16 characters that are stretched, whatever way the password was typed or pasted.

    Drops white space, dashes and invisible characters (Unicode Z*, Pd, Cf, and the minus sign), ignores case, reads
    O as 0 and I and L as 1. Raises MalformedSecret unless exactly 16 Crockford characters result.
    """
    if len(text) > _MAX_TYPED_CHARS:
        raise MalformedSecret("password")
    kept = "".join(character for character in text if not _is_filler(character))
    # Before upper(), which turns some foreign letters (dotless i, long s) into ASCII ones.
    if not kept.isascii():
        raise MalformedSecret("password")
    normalised = kept.upper().translate(_MISREAD)
    if len(normalised) != PASSWORD_CHARS or not set(normalised) <= set(ALPHABET):
        raise MalformedSecret("password")
    return normalised


def new_salt() -> bytes:
    """Return the 16 random bytes that one share's password is stretched with."""
    return secrets.token_bytes(SALT_BYTES)


def stretch(password: str, salt: bytes, parameters: Argon2Parameters) -> bytes:
    """Return the 32-byte Argon2id hash (version 0x13) of the normalised password.

    Costs `parameters.memory_kib` of memory and as many threads as lanes: callers bound how many run at once.
    Raises MalformedSecret for a malformed password (before any work), CryptoError if memory runs out.
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
        raise CryptoError("Argon2id could not run; is there memory for its parameters?") from None


def _is_filler(character: str) -> bool:
    return (
        character.isspace()
        or character == _MINUS_SIGN
        or unicodedata.category(character) in {"Pd", "Cf", "Zs", "Zl", "Zp"}
    )
