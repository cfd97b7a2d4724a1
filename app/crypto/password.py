"""The password of a share: generated here, read out over the telephone, typed by a person.

It has 80 random bits in Crockford's base32, whose alphabet has no I, L, O or U; nobody chooses it. Only the server
stretches it (`stretching`).
"""

import secrets
import unicodedata

from app.crypto.errors import MalformedSecret

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PASSWORD_CHARS = 16
_GROUP_CHARS = 4
_MAX_TYPED_CHARS = 256
_MISREAD = str.maketrans("OIL", "011")
_MINUS_SIGN = "\u2212"  # the one dash that Unicode files under mathematics (Sm)


def new_password() -> str:
    """Return a fresh password, written as `XXXX-XXXX-XXXX-XXXX`."""
    characters = "".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_CHARS))
    return "-".join(characters[i : i + _GROUP_CHARS] for i in range(0, PASSWORD_CHARS, _GROUP_CHARS))


def normalise(text: str) -> str:
    """Return the 16 characters to be stretched, however the password was typed or pasted.

    Removes white space, dashes and invisible characters (Unicode Z*, Pd, Cf, and the minus sign), ignores case, reads
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


def _is_filler(character: str) -> bool:
    return (
        character.isspace()
        or character == _MINUS_SIGN
        or unicodedata.category(character) in {"Pd", "Cf", "Zs", "Zl", "Zp"}
    )
