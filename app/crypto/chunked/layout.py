"""The layout of a blob, and the contexts that blobs are bound to. Arithmetic only."""

from app.crypto.errors import Truncated
from app.crypto.labels import label

SALT_BYTES = 24
COMMITMENT_BYTES = 32
HEADER_BYTES = SALT_BYTES + COMMITMENT_BYTES
TAG_BYTES = 16
CHUNK_BYTES = 16 * 1024
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
MAX_CHUNKS = 2**38

PIECE_CHUNKS = 64
"""Chunks per piece while a body is encrypted, about 1 MiB: smaller pieces cost more in the layers above
(docs/performance.md).
"""


def sealed_size(size: int) -> int:
    """Return the size in bytes of the blob of a plaintext of `size` bytes."""
    return HEADER_BYTES + size + TAG_BYTES * (size // CHUNK_BYTES + 1)


def plain_size(sealed: int) -> int:
    """Return the size in bytes of the plaintext of a blob of `sealed` bytes.

    Raises Truncated if no blob has that size.
    """
    whole_chunks, last = divmod(sealed - HEADER_BYTES, SEALED_CHUNK_BYTES)
    if whole_chunks < 0 or last < TAG_BYTES:
        raise Truncated
    return whole_chunks * CHUNK_BYTES + last - TAG_BYTES


def file_context(transfer_id: str, number: int) -> bytes:
    """Return the context that binds the content of file `number` (from 0) to its transfer."""
    return label("file", transfer_id, number).encode("ascii")


def meta_context(transfer_id: str, number: int) -> bytes:
    """Return the context that binds the name and type of file `number` (from 0) to its transfer."""
    return label("meta", transfer_id, number).encode("ascii")
