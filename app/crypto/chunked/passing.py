"""A blob that was encrypted elsewhere and passes through unread: counted, and its shape looked at."""

from app.crypto.chunked.layout import CHUNK_BYTES, HEADER_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES, plain_size


class PassingBlob:
    """Stands where an `Encryptor` stands when the bytes come encrypted. Keeps nothing of what passes.

    Length is all that can be judged without the key: whether a header and chunks with a short last one are there.
    """

    def __init__(self) -> None:
        """Begin a blob."""
        self._sealed_bytes = 0

    @property
    def size(self) -> int:
        """Plaintext bytes in what has passed so far, as far as they are known; exact once `finish` has returned."""
        whole_chunks, last = divmod(max(0, self._sealed_bytes - HEADER_BYTES), SEALED_CHUNK_BYTES)
        return whole_chunks * CHUNK_BYTES + max(0, last - TAG_BYTES)

    def update(self, data: bytes) -> tuple[bytes]:
        """Count `data` and hand it on."""
        self._sealed_bytes += len(data)
        return (data,)

    def finish(self) -> bytes:
        """Return the rest, of which there is none. Raises Truncated when no blob has the length of what passed."""
        plain_size(self._sealed_bytes)
        return b""
