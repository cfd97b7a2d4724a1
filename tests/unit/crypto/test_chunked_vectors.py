"""The shared vectors of c2sp.org/chunked-encryption, through every way in and out of the format."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from app.crypto.chunked import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    ChunkReader,
    Decryptor,
    Encryptor,
    open_sealed,
    plain_size,
    sealed_size,
)

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "chunked-encryption.json").read_text("utf-8"))["cases"]
FEEDS = [1 << 30, 65536, CHUNK_BYTES, SEALED_CHUNK_BYTES, 16383, 1000]


class Case:
    """One vector: message and keys as bytes."""

    def __init__(self, values):
        self.key = bytes.fromhex(values["input_key"])
        self.salt = bytes.fromhex(values["salt"])
        self.context = values["context"].encode()
        self.message = message(values["message_seed"], values["message_length"])
        assert sha256(self.message).hexdigest() == values["message_sha256"]
        self.commitment = bytes.fromhex(values["commitment"])
        self.sealed_length = values["ciphertext_length"]
        self.sealed_sha256 = values["ciphertext_sha256"]
        self.sealed = bytes.fromhex(values["ciphertext"]) if "ciphertext" in values else None

    def encrypt(self, feed):
        encryptor = Encryptor(self.key, self.context, salt=self.salt)
        return push(encryptor, self.message, feed)


def message(seed, length):
    """SHA-256(seed + "/0") || SHA-256(seed + "/1") || ..., as the file says."""
    blocks = (sha256(f"{seed}/{i}".encode()).digest() for i in range(-(-length // 32)))
    return b"".join(blocks)[:length]


def push(stream, data, feed):
    """Feed a stream `feed` bytes at a time and return all that comes out."""
    out = bytearray()
    for start in range(0, len(data), feed):
        for piece in stream.update(data[start : start + feed]):
            out += piece
    out += stream.finish()
    return bytes(out)


@pytest.fixture(scope="module", params=CASES, ids=lambda values: str(values["message_length"]))
def case(request):
    return Case(request.param)


def test_sizes(case):
    """Size of message and of ciphertext follow from each other."""
    assert sealed_size(len(case.message)) == case.sealed_length
    assert plain_size(case.sealed_length) == len(case.message)


@pytest.mark.parametrize("feed", FEEDS)
def test_encryptor_writes_the_ciphertext(case, feed):
    """However the message arrives."""
    sealed = case.encrypt(feed)
    assert sealed[:HEADER_BYTES] == case.salt + case.commitment
    assert len(sealed) == case.sealed_length
    assert sha256(sealed).hexdigest() == case.sealed_sha256
    assert case.sealed in (None, sealed)


@pytest.mark.parametrize("feed", FEEDS)
def test_decryptor_returns_the_message(case, feed):
    """However the ciphertext arrives."""
    assert push(Decryptor(case.key, case.context), case.encrypt(65536), feed) == case.message


def test_reader_returns_the_message(case):
    """In one go, and in runs of three chunks, each read from where `sealed_range` says."""
    sealed = case.encrypt(65536)
    reader = ChunkReader(case.key, case.context, sealed[:HEADER_BYTES], len(sealed))
    out = bytearray()
    for first in range(0, len(case.message) // CHUNK_BYTES + 1, 3):
        offset, length = reader.sealed_range(first, 3)
        out += reader.open_chunks(first, sealed[offset : offset + length])
    assert reader.size == len(case.message)
    assert out == case.message
    assert open_sealed(case.key, case.context, sealed) == case.message


def test_one_byte_at_a_time():
    """The slowest sender there is."""
    case = next(each for each in map(Case, CASES) if len(each.message) == 32767)
    sealed = case.encrypt(1)
    assert sha256(sealed).hexdigest() == case.sealed_sha256
    assert push(Decryptor(case.key, case.context), sealed, 1) == case.message
