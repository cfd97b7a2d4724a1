"""A recipient's formulas, from the program that was written from docs/protocol.md alone. It imports nothing of the
service, so what it reads, anybody can read.
"""

from __future__ import annotations

import json
from typing import Any

from examples.protocol_client import HEADER, hkdf, opened, to_bytes, to_text, unwrap

__all__ = ["decrypt_file", "decrypt_meta", "link_proof", "to_bytes", "to_text", "unwrap_share"]


def link_proof(link_secret: bytes) -> bytes:
    """What shows that one holds the link, without giving it away."""
    return hkdf(link_secret, "", "caducee/v1 link proof")


def unwrap_share(link_secret: bytes, server_part: bytes, wrapped: bytes, *, transfer: str, share: str) -> bytes:
    """The transfer key, from the link's secret and what the server hands out for the right password."""
    share_key = hkdf(link_secret + server_part, share, "caducee/v1 share key")
    return unwrap(share_key, wrapped, f"caducee/v1 share {transfer} {share}")


def decrypt(transfer_key: bytes, context: str, sealed: bytes) -> bytes:
    """A whole stream. Raises InvalidTag for a wrong key or a cut stream."""
    return b"".join(opened(transfer_key, context, sealed[:HEADER], iter([sealed[HEADER:]]), 0))


def decrypt_file(transfer_key: bytes, *, transfer: str, number: int, sealed: bytes) -> bytes:
    """The content of a file."""
    return decrypt(transfer_key, f"caducee/v1 file {transfer} {number}", sealed)


def decrypt_meta(transfer_key: bytes, *, transfer: str, number: int, sealed: bytes) -> dict[str, Any]:
    """Name, type and checksum of a file."""
    meta: dict[str, Any] = json.loads(decrypt(transfer_key, f"caducee/v1 meta {transfer} {number}", sealed))
    return meta
