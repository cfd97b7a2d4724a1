"""Counts and checks the length of a blob that a client encrypted and that passes through unread."""

from app.crypto.chunked.layout import CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES, plain_size


class PassingBlob:
    """Replaces an `Encryptor` for bytes that are already encrypted. Buffers nothing.

    Without the key only the length can be checked: a header, then chunks with a short last one.
    """

    def __init__(self, stored: int = 0) -> None:
        """Begin a blob, or continue one of which `stored` bytes were passed before."""
        self._sealed_bytes = stored

    @property
    def size(self) -> int:
        """Plaintext bytes passed so far; exact only once `finish` has returned."""
        whole_chunks, last = divmod(max(0, self._sealed_bytes - HEADER_BYTES), SEALED_CHUNK_BYTES)
        return whole_chunks * CHUNK_BYTES + max(0, last - TAG_BYTES)

    def update(self, data: bytes) -> tuple[bytes]:
        """Count `data` and return it."""
        self._sealed_bytes += len(data)
        return (data,)

    def finish(self) -> bytes:
        """Return the rest, which is empty. Raises Truncated if no blob has the length of the bytes passed."""
        plain_size(self._sealed_bytes)
        return b""
