"""Files as ciphertext: C2SP chunked encryption (c2sp.org/chunked-encryption), instantiation Cobblestone-256.

Every blob is `salt(24) || commitment(32) || chunks`; a chunk is 16 KiB of plaintext and a 16-byte tag, and the last one
is always shorter. `Encryptor` encrypts a body while it arrives, `ChunkReader` decrypts any range of a blob, `Decryptor`
decrypts a stream in the recipient's client, `PassingBlob` counts the bytes of a blob encrypted by a client, and `seal`
and `open_sealed` are for small data such as file names.
"""

from app.crypto.chunked.decryptor import Decryptor
from app.crypto.chunked.encryptor import Encryptor
from app.crypto.chunked.layout import (
    CHUNK_BYTES,
    HEADER_BYTES,
    PIECE_CHUNKS,
    SALT_BYTES,
    SEALED_CHUNK_BYTES,
    file_context,
    meta_context,
    plain_size,
    sealed_size,
)
from app.crypto.chunked.passing import PassingBlob
from app.crypto.chunked.reader import ChunkReader
from app.crypto.chunked.whole import open_sealed, seal

__all__ = [
    "CHUNK_BYTES",
    "HEADER_BYTES",
    "PIECE_CHUNKS",
    "SALT_BYTES",
    "SEALED_CHUNK_BYTES",
    "ChunkReader",
    "Decryptor",
    "Encryptor",
    "PassingBlob",
    "file_context",
    "meta_context",
    "open_sealed",
    "plain_size",
    "seal",
    "sealed_size",
]
