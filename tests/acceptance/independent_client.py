"""A recipient's program written from the published formats alone: RFC 5869, RFC 5116, C2SP chunked encryption and the
formulas of docs/security.md. It imports nothing of the service, so what it reads, anybody can read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK_BYTES = 16 * 1024
HEADER_BYTES = 24 + 32
TAG_BYTES = 16


def to_text(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869, 2.3)."""
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha512).digest()
        output, counter = output + block, counter + 1
    return output[:length]


def derive(secret: bytes, salt: bytes, info: str) -> bytes:
    """HKDF with SHA-512, 32 bytes (RFC 5869, 2.2 and 2.3)."""
    return expand(hmac.new(salt, secret, hashlib.sha512).digest(), info.encode(), 32)


def link_proof(link_secret: bytes) -> bytes:
    """What shows that one holds the link, without giving it away."""
    return derive(link_secret, b"", "caducee/v1 link proof")


def unwrap_share(link_secret: bytes, server_part: bytes, wrapped: bytes, *, transfer: str, share: str) -> bytes:
    """The transfer key, from the link's secret and what the server hands out for the right password."""
    share_key = derive(link_secret + server_part, share.encode(), "caducee/v1 share key")
    return AESGCM(share_key).decrypt(wrapped[:12], wrapped[12:], f"caducee/v1 share {transfer} {share}".encode())


def decrypt(transfer_key: bytes, context: str, sealed: bytes) -> bytes:
    """A whole C2SP chunked-encryption stream. Raises ValueError for a wrong key or a cut stream."""
    salt, commitment, chunks = sealed[:24], sealed[24:HEADER_BYTES], sealed[HEADER_BYTES:]
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + context.encode()
    material = expand(transfer_key, info, 32 + 12 + 32)
    if not hmac.compare_digest(material[44:], commitment):
        raise ValueError("another key, file or transfer")
    cipher, base_nonce = AESGCM(material[:32]), int.from_bytes(material[32:44])
    plain = []
    for number, start in enumerate(range(0, max(len(chunks), 1), CHUNK_BYTES + TAG_BYTES)):
        nonce = (base_nonce ^ number).to_bytes(12)
        plain.append(cipher.decrypt(nonce, chunks[start : start + CHUNK_BYTES + TAG_BYTES], None))
    if len(plain[-1]) == CHUNK_BYTES:
        raise ValueError("cut: the last chunk is full")
    return b"".join(plain)


def decrypt_file(transfer_key: bytes, *, transfer: str, number: int, sealed: bytes) -> bytes:
    """The content of a file."""
    return decrypt(transfer_key, f"caducee/v1 file {transfer} {number}", sealed)


def decrypt_meta(transfer_key: bytes, *, transfer: str, number: int, sealed: bytes) -> dict[str, str]:
    """Name and type of a file."""
    meta: dict[str, str] = json.loads(decrypt(transfer_key, f"caducee/v1 meta {transfer} {number}", sealed))
    return meta
