"""The client-side cryptography of sealed transfers: pure functions, never run on the server.

Formulas and formats are those of the service (`app/crypto/`), so that both modes store the same formats. All keys,
secrets and parts have 32 bytes. Functions that decrypt or unwrap raise CannotDecrypt.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from app.client.errors import FileChanged
from app.crypto import chunked, wrapping
from app.domain.file_meta import FileMeta


def seal_file(transfer_key: bytes, transfer_id: str, number: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Encrypt a file while it is read, in constant memory. Every call uses a fresh salt."""
    encryptor = chunked.Encryptor(transfer_key, chunked.file_context(transfer_id, number))
    for data in pieces:
        for sealed in encryptor.update(data):
            yield bytes(sealed)  # the view is valid only until the next step, and a client may keep it longer
    yield bytes(encryptor.finish())


def open_file(transfer_key: bytes, transfer_id: str, number: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decrypt a file while it arrives; only authenticated bytes are yielded. The file is complete only once the
    iteration has ended: a truncated stream raises Truncated at its end.
    """
    decryptor = chunked.Decryptor(transfer_key, chunked.file_context(transfer_id, number))
    for data in pieces:
        for plain in decryptor.update(data):
            yield bytes(plain)
    yield bytes(decryptor.finish())


def crc32_of(pieces: Iterable[bytes]) -> int:
    """Return the CRC-32 of a file, for its metadata. They are sent before its content, so the file is read twice."""
    checksum = 0
    for data in pieces:
        checksum = zlib.crc32(data, checksum)
    return checksum


def unchanged(pieces: Iterable[bytes], crc32: int) -> Iterator[bytes]:
    """Pass a file on. Raises FileChanged before its end if its content is not that of the checksum."""
    checksum, held = 0, b""
    for data in pieces:
        if held:
            yield held
        checksum, held = zlib.crc32(data, checksum), data
    if checksum != crc32:
        raise FileChanged
    yield held


def seal_meta(transfer_key: bytes, transfer_id: str, number: int, meta: FileMeta) -> bytes:
    """Encrypt a file's name, folders, type and checksum under a fresh salt."""
    return chunked.seal(transfer_key, chunked.meta_context(transfer_id, number), meta.to_json())


def open_meta(transfer_key: bytes, transfer_id: str, number: int, sealed_meta: bytes) -> FileMeta:
    """Decrypt the name, folders, type and checksum of a file. Raises InvalidFileName, InvalidFilePath."""
    return FileMeta.from_json(chunked.open_sealed(transfer_key, chunked.meta_context(transfer_id, number), sealed_meta))


def wrap_for_owner(transfer_key: bytes, *, client_key: bytes, owner_part: bytes, transfer_id: str) -> bytes:
    """Wrap the transfer key for the depositor, who recovers it with client key and `owner_part`."""
    owner_key = wrapping.owner_key(client_key, owner_part, transfer_id)
    return wrapping.wrap_for_owner(transfer_key, owner_key=owner_key, transfer_id=transfer_id)


def unwrap_for_owner(wrapped_key: bytes, *, client_key: bytes, owner_part: bytes, transfer_id: str) -> bytes:
    """Return the transfer key from `wrap_for_owner`."""
    owner_key = wrapping.owner_key(client_key, owner_part, transfer_id)
    return wrapping.unwrap_for_owner(wrapped_key, owner_key=owner_key, transfer_id=transfer_id)


def wrap_for_share(
    transfer_key: bytes, *, link_secret: bytes, server_part: bytes, transfer_id: str, share_id: str
) -> bytes:
    """Wrap the transfer key for a recipient, who recovers it with link secret and `server_part`."""
    share_key = wrapping.share_key(link_secret, server_part, share_id)
    return wrapping.wrap_for_share(transfer_key, share_key=share_key, transfer_id=transfer_id, share_id=share_id)


def unwrap_for_share(
    wrapped_key: bytes, *, link_secret: bytes, server_part: bytes, transfer_id: str, share_id: str
) -> bytes:
    """Return the transfer key from `wrap_for_share`."""
    share_key = wrapping.share_key(link_secret, server_part, share_id)
    return wrapping.unwrap_for_share(wrapped_key, share_key=share_key, transfer_id=transfer_id, share_id=share_id)
