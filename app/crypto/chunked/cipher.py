"""The keys of one message, and encryption and decryption of consecutive chunks.

Used by the stream classes and the reader, which decide which chunks to process and when.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from app.crypto.chunked.layout import (
    CHUNK_BYTES,
    COMMITMENT_BYTES,
    HEADER_BYTES,
    MAX_CHUNKS,
    SALT_BYTES,
    SEALED_CHUNK_BYTES,
)
from app.crypto.errors import CannotDecrypt, Truncated

_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
_KEY_BYTES = 32
_NONCE_BYTES = 12


class MessageCipher:
    """Key, base nonce and header of one message, derived from input key, salt and context."""

    __slots__ = ("_aead", "_base_nonce", "header")

    def __init__(self, key: bytes | bytearray, context: bytes, salt: bytes) -> None:
        """Derive them. Raises ValueError unless `key` has 32 bytes and `salt` 24."""
        check_key(key)
        if len(salt) != SALT_BYTES:
            raise ValueError("chunked encryption takes a salt of 24 bytes")
        derived = bytearray(_KEY_BYTES + _NONCE_BYTES + COMMITMENT_BYTES)
        info = _INFO + salt + context
        HKDFExpand(algorithm=SHA512(), length=len(derived), info=info).derive_into(key, derived)
        self._aead = AESGCM(memoryview(derived)[:_KEY_BYTES])
        self._base_nonce = int.from_bytes(derived[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES], "big")
        self.header = salt + bytes(derived[-COMMITMENT_BYTES:])
        derived[:] = bytes(len(derived))

    @classmethod
    def from_header(cls, key: bytes | bytearray, context: bytes, header: bytes) -> "MessageCipher":
        """Derive them from a blob's header and check its commitment, before any chunk is decrypted.

        Raises Truncated for an incomplete header, CannotDecrypt for another key or context.
        """
        if len(header) != HEADER_BYTES:
            raise Truncated
        cipher = cls(key, context, bytes(header[:SALT_BYTES]))
        if not hmac.compare_digest(cipher.header, header):
            raise CannotDecrypt
        return cipher

    def seal(self, first: int, count: int, plain: memoryview, sealed: memoryview) -> None:
        """Encrypt `plain` as `count` chunks, starting with number `first`, into `sealed`, which has exactly their size.

        All are full except the last of the message. Never encrypt a chunk number twice under one salt.
        """
        _check_chunk_numbers(first, count)
        encrypt_into, base_nonce = self._aead.encrypt_into, self._base_nonce
        for i in range(count):
            encrypt_into(
                (base_nonce ^ (first + i)).to_bytes(_NONCE_BYTES, "big"),
                plain[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES],
                None,
                sealed[i * SEALED_CHUNK_BYTES : (i + 1) * SEALED_CHUNK_BYTES],
            )

    def open(self, first: int, sealed: memoryview, plain: list[memoryview]) -> None:
        """Decrypt the chunks, starting with number `first`, into `plain`, whose views have exactly their sizes.

        Raises CannotDecrypt; `plain` may then contain unauthenticated bytes and must be discarded.
        """
        _check_chunk_numbers(first, len(plain))
        decrypt_into, base_nonce = self._aead.decrypt_into, self._base_nonce
        try:
            for i, target in enumerate(plain):
                decrypt_into(
                    (base_nonce ^ (first + i)).to_bytes(_NONCE_BYTES, "big"),
                    sealed[i * SEALED_CHUNK_BYTES : (i + 1) * SEALED_CHUNK_BYTES],
                    None,
                    target,
                )
        except InvalidTag:
            raise CannotDecrypt from None


def cut(data: memoryview, length: int, count: int) -> list[memoryview]:
    """Return views of `count` consecutive parts of `length` bytes; the last one may be shorter."""
    return [data[i * length : (i + 1) * length] for i in range(count)]


def check_key(key: bytes | bytearray) -> None:
    """Raise ValueError, without the key in its message, unless `key` has 32 bytes."""
    if len(key) != _KEY_BYTES:
        raise ValueError("chunked encryption takes a key of 32 bytes")


def _check_chunk_numbers(first: int, count: int) -> None:
    if first < 0 or first + count > MAX_CHUNKS:
        raise ValueError("a message has at most 2**38 chunks")
