"""Blobs altered, cut, glued or moved are refused; streams keep to their pieces and to their order of calls."""

import os
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.crypto.chunked import (
    CHUNK_BYTES,
    HEADER_BYTES,
    PIECE_CHUNKS,
    SEALED_CHUNK_BYTES,
    ChunkReader,
    Decryptor,
    Encryptor,
    file_context,
    meta_context,
    open_sealed,
    plain_size,
    seal,
    sealed_size,
)
from app.crypto.errors import CannotDecrypt, Truncated

KEY = bytes(range(32))
CONTEXT = file_context("transfer", 0)
DATA = bytes(i * i >> 3 & 255 for i in range(3 * CHUNK_BYTES + 100))
SEALED = seal(KEY, CONTEXT, DATA)
CHUNKS = [SEALED[HEADER_BYTES + i * SEALED_CHUNK_BYTES :][:SEALED_CHUNK_BYTES] for i in range(4)]
HEADER = SEALED[:HEADER_BYTES]
SIZES = st.one_of(st.integers(0, 100), st.integers(0, 6).map(lambda n: n * CHUNK_BYTES), st.integers(0, 100_000))


def drain(stream, *bodies):
    """Push the bodies, finish, and return all that came out."""
    out = b"".join(bytes(piece) for body in bodies for piece in stream.update(body))
    return out + bytes(stream.finish())


def decrypt_as_stream(sealed, key=KEY, context=CONTEXT):
    return drain(Decryptor(key, context), *(sealed[i : i + 5000] for i in range(0, len(sealed), 5000)))


def decrypt_by_reader(sealed, key=KEY, context=CONTEXT):
    return open_sealed(key, context, sealed)


both_ways = pytest.mark.parametrize("decrypt", [decrypt_as_stream, decrypt_by_reader])


# Round trips


@given(SIZES, st.lists(st.integers(1, 70_000), min_size=1, max_size=5))
@settings(max_examples=60)
def test_round_trip_however_it_is_fed(size, feeds):
    """Any length, in bodies of any lengths, in any kind of buffer."""
    data = os.urandom(size)
    encryptor, decryptor = Encryptor(KEY, CONTEXT), Decryptor(KEY, CONTEXT)
    bodies: list[bytes | bytearray | memoryview] = []
    position = 0
    while position < size:
        feed = feeds[len(bodies) % len(feeds)]
        bodies.append((bytes, bytearray, memoryview)[len(bodies) % 3](data[position : position + feed]))
        position += feed
    sealed = drain(encryptor, *bodies)
    assert encryptor.size == size
    assert len(sealed) == sealed_size(size)
    assert drain(decryptor, sealed) == decrypt_as_stream(sealed) == open_sealed(KEY, CONTEXT, sealed) == data


@given(st.integers(0, 2**40))
@example(0)
@example(CHUNK_BYTES - 1)
@example(CHUNK_BYTES)
def test_sizes_follow_from_each_other(size):
    """Both ways."""
    assert plain_size(sealed_size(size)) == size


@given(st.integers(0, 10**6))
def test_sizes_that_no_blob_has(sealed):
    """Either some plaintext has a blob of this size, or it is truncated."""
    try:
        size = plain_size(sealed)
    except Truncated:
        rest = (sealed - HEADER_BYTES) % SEALED_CHUNK_BYTES
        assert sealed < HEADER_BYTES or rest < 16
    else:
        assert sealed_size(size) == sealed


@given(st.integers(0, 10 * CHUNK_BYTES), st.data())
@settings(max_examples=50)
def test_any_range_of_bytes_can_be_opened(size, data):
    """As a Range request does it: the chunks around the range, then a slice."""
    plain = os.urandom(size)
    sealed = seal(KEY, CONTEXT, plain)
    reader = ChunkReader(KEY, CONTEXT, sealed[:HEADER_BYTES], len(sealed))
    begin = data.draw(st.integers(0, size))
    end = data.draw(st.integers(begin, size))
    first, last = begin // CHUNK_BYTES, end // CHUNK_BYTES
    offset, length = reader.sealed_range(first, last - first + 1)
    opened = reader.open_chunks(first, memoryview(sealed)[offset : offset + length])
    start = begin - first * CHUNK_BYTES
    assert opened[start : start + end - begin] == plain[begin:end]


def test_two_seals_of_one_thing_differ():
    """A fresh salt each time."""
    assert seal(KEY, CONTEXT, b"name") != seal(KEY, CONTEXT, b"name")


def test_contexts_are_those_of_the_design():
    """Byte for byte."""
    assert file_context("abc", 12) == b"caducee/v1 file abc 12"
    assert meta_context("abc", 12) == b"caducee/v1 meta abc 12"


# Attacks on the whole blob


@both_ways
def test_every_flipped_bit_of_a_small_blob_is_refused(decrypt):
    """Salt, commitment, ciphertext and tag."""
    sealed = seal(KEY, CONTEXT, b"ab")
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotDecrypt):
            decrypt(bytes(altered))


@both_ways
@pytest.mark.parametrize("chunk", range(4))
def test_bit_flipped_in_any_chunk_is_refused(decrypt, chunk):
    """First, middle and last."""
    altered = bytearray(SEALED)
    altered[HEADER_BYTES + chunk * SEALED_CHUNK_BYTES + 50] ^= 0x80
    with pytest.raises(CannotDecrypt) as caught:
        decrypt(bytes(altered))
    assert str(caught.value) == CannotDecrypt.message
    assert caught.value.__suppress_context__


@both_ways
@given(st.integers(0, len(SEALED) - 1))
@example(0)
@example(HEADER_BYTES)
@example(HEADER_BYTES + SEALED_CHUNK_BYTES)
@example(HEADER_BYTES + 3 * SEALED_CHUNK_BYTES)
@example(len(SEALED) - 1)
def test_truncated_is_refused(decrypt, length):
    """Cut anywhere, between chunks above all."""
    with pytest.raises(CannotDecrypt):
        decrypt(SEALED[:length])


@both_ways
@pytest.mark.parametrize("chunks", [0, 1, 2, 3])
def test_cut_between_chunks_is_truncated(decrypt, chunks):
    """Every chunk left is genuine; only the short last one is missing."""
    with pytest.raises(Truncated):
        decrypt(SEALED[: HEADER_BYTES + chunks * SEALED_CHUNK_BYTES])


@both_ways
@pytest.mark.parametrize(
    "extra", [b"\0", bytes(16), bytes(SEALED_CHUNK_BYTES), CHUNKS[3], CHUNKS[0], SEALED], ids=range(6)
)
def test_extended_is_refused(decrypt, extra):
    """By zeros, by its own chunks, by itself."""
    with pytest.raises(CannotDecrypt):
        decrypt(SEALED + extra)


@both_ways
@pytest.mark.parametrize("order", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 1, 3), (0, 1, 3), (1, 2, 3), (3,)])
def test_reordered_repeated_or_dropped_chunks_are_refused(decrypt, order):
    """Each chunk is bound to its number."""
    with pytest.raises(CannotDecrypt):
        decrypt(HEADER + b"".join(CHUNKS[i] for i in order))


@both_ways
def test_swapped_chunks_of_two_messages_are_refused(decrypt):
    """The same key and context, another salt."""
    other = seal(KEY, CONTEXT, DATA)
    with pytest.raises(CannotDecrypt):
        decrypt(HEADER + other[HEADER_BYTES:])
    with pytest.raises(CannotDecrypt):
        decrypt(SEALED[:-116] + other[-116:])


@both_ways
def test_wrong_key_is_refused(decrypt):
    """At the commitment."""
    with pytest.raises(CannotDecrypt):
        decrypt(SEALED, key=bytes(32))


@both_ways
@pytest.mark.parametrize(
    "context", [file_context("transfer", 1), file_context("other", 0), meta_context("transfer", 0), b"", CONTEXT + b"0"]
)
def test_wrong_context_is_refused(decrypt, context):
    """A blob moved to another number, transfer or use."""
    with pytest.raises(CannotDecrypt):
        decrypt(SEALED, context=context)


# The decryptor


def test_wrong_key_is_refused_before_any_chunk():
    """As soon as the header is there; what is pushed next is not looked at."""
    decryptor = Decryptor(bytes(32), CONTEXT)
    assert list(decryptor.update(HEADER[:-1])) == []
    with pytest.raises(CannotDecrypt):
        list(decryptor.update(HEADER[-1:]))
    with pytest.raises(RuntimeError):
        list(decryptor.update(SEALED[HEADER_BYTES:]))
    with pytest.raises(RuntimeError):
        decryptor.finish()


def test_nothing_of_an_altered_piece_comes_out():
    """70 chunks, the last of the first piece altered: not one byte is given out."""
    sealed = bytearray(seal(KEY, CONTEXT, bytes(70 * CHUNK_BYTES)))
    sealed[HEADER_BYTES + PIECE_CHUNKS * SEALED_CHUNK_BYTES - 1] ^= 1
    decryptor = Decryptor(KEY, CONTEXT)
    out: list[memoryview] = []
    with pytest.raises(CannotDecrypt):
        out.extend(decryptor.update(sealed))
    assert out == []
    with pytest.raises(RuntimeError):
        decryptor.finish()


# The encryptor


def test_pieces_are_of_equal_size_and_the_header_leads_the_first():
    """What storage and network see."""
    encryptor = Encryptor(KEY, CONTEXT)
    lengths = [len(piece) for piece in encryptor.update(bytes((2 * PIECE_CHUNKS + 2) * CHUNK_BYTES))]
    assert lengths == [HEADER_BYTES + PIECE_CHUNKS * SEALED_CHUNK_BYTES, PIECE_CHUNKS * SEALED_CHUNK_BYTES]
    assert len(encryptor.finish()) == 2 * SEALED_CHUNK_BYTES + 16


def test_a_full_piece_comes_out_at_once():
    """Also when its last chunk was filled byte by byte."""
    encryptor = Encryptor(KEY, CONTEXT)
    assert list(encryptor.update(bytes(PIECE_CHUNKS * CHUNK_BYTES - 1))) == []
    assert [len(piece) for piece in encryptor.update(b"x")] == [HEADER_BYTES + PIECE_CHUNKS * SEALED_CHUNK_BYTES]


def test_a_small_file_takes_little_memory():
    """No 1 MiB buffer for 100 bytes, nor for 100 KiB."""
    encryptor = Encryptor(KEY, CONTEXT)
    assert list(encryptor.update(bytes(100))) == []
    assert len(encryptor._piece) == HEADER_BYTES
    assert list(encryptor.update(bytes(100_000))) == []
    assert len(encryptor._piece) < 300_000


def test_nothing_is_taken_after_the_end():
    """A second last chunk would repeat a nonce."""
    encryptor = Encryptor(KEY, CONTEXT)
    encryptor.finish()
    for late in (lambda: encryptor.update(b"x"), encryptor.finish, encryptor.suspend):
        with pytest.raises(RuntimeError):
            late()


def test_an_update_that_was_not_drained_is_noticed():
    """Its bytes would be missing from the blob."""
    for partly in (False, True):
        encryptor = Encryptor(KEY, CONTEXT)
        pieces = encryptor.update(bytes(200 * CHUNK_BYTES))
        if partly:
            next(pieces)
        with pytest.raises(RuntimeError, match="not drained"):
            encryptor.finish()
        with pytest.raises(RuntimeError, match="not drained"):
            encryptor.update(b"x")


@pytest.mark.parametrize("end", ["finish", "suspend"])
def test_pending_plaintext_is_wiped_at_the_end(end):
    """However it ends, and nothing is taken afterwards."""
    encryptor = Encryptor(KEY, CONTEXT)
    list(encryptor.update(b"DUPONT" * 100))
    held = encryptor._held
    assert bytes(held).startswith(b"DUPONT")
    getattr(encryptor, end)()
    assert bytes(held) == bytes(CHUNK_BYTES)
    with pytest.raises(RuntimeError):
        encryptor.update(b"x")


def test_bodies_of_other_shapes_are_bytes_too():
    """A memoryview of wider items is counted in bytes."""
    wide = memoryview(bytes(range(256))).cast("I")
    encryptor = Encryptor(KEY, CONTEXT)
    assert open_sealed(KEY, CONTEXT, drain(encryptor, wide)) == bytes(range(256))
    assert encryptor.size == 256


@given(SIZES, SIZES, SIZES)
@settings(max_examples=40)
def test_a_suspended_upload_goes_on_as_if_nothing_had_been(first, second, third):
    """Two breaks, anywhere: the blob is the one that a single run would have written."""
    data, salt = os.urandom(first + second + third), os.urandom(24)
    blob, chunks, tail = b"", 0, b""
    for begin, end in ((0, first), (first, first + second)):
        encryptor = (
            Encryptor.resume(KEY, CONTEXT, salt=salt, chunks=chunks) if blob else Encryptor(KEY, CONTEXT, salt=salt)
        )
        blob += b"".join(bytes(piece) for body in (tail, data[begin:end]) for piece in encryptor.update(body))
        assert encryptor.size == end
        rest, tail = encryptor.suspend()
        blob, chunks = blob + bytes(rest), end // CHUNK_BYTES
        assert len(tail) == end % CHUNK_BYTES
    blob += drain(Encryptor.resume(KEY, CONTEXT, salt=salt, chunks=chunks), tail, data[first + second :])
    assert blob == drain(Encryptor(KEY, CONTEXT, salt=salt), data)


def test_no_chunk_beyond_the_limit_of_the_format():
    """2**38 chunks, after which the nonces would run into another message's."""
    encryptor = Encryptor.resume(KEY, CONTEXT, salt=bytes(24), chunks=2**38 - 1)
    assert list(encryptor.update(bytes(CHUNK_BYTES))) == []
    with pytest.raises(ValueError, match="2\\*\\*38"):
        encryptor.finish()


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_keys_of_another_length_are_refused(length):
    """A bug of the caller, reported without the key."""
    for make in (Encryptor, Decryptor, lambda key, context: ChunkReader(key, context, HEADER, len(SEALED))):
        with pytest.raises(ValueError, match="32 bytes") as caught:
            make(b"K" * length, CONTEXT)
        assert "K" not in str(caught.value)
    with pytest.raises(ValueError, match="salt"):
        Encryptor(KEY, CONTEXT, salt=b"K" * length)


# The reader


@pytest.fixture
def reader():
    return ChunkReader(KEY, CONTEXT, HEADER, len(SEALED))


def test_ranges_are_clipped_at_the_end(reader):
    """Offsets and lengths in the blob."""
    assert reader.sealed_range(0, 1) == (56, 16400)
    assert reader.sealed_range(2, 64) == (56 + 2 * 16400, 16400 + 116)
    assert reader.sealed_range(3, 1) == (56 + 3 * 16400, 116)


@pytest.mark.parametrize(("first", "chunks"), [(-1, 1), (4, 1), (0, 0)])
def test_chunks_beyond_the_end_are_a_bug_of_the_caller(reader, first, chunks):
    """The HTTP layer answers 416 before it comes here."""
    with pytest.raises(ValueError, match="no such chunks"):
        reader.sealed_range(first, chunks)


@pytest.mark.parametrize("sealed", [b"", CHUNKS[0][:-1], CHUNKS[0] + CHUNKS[1][:100], CHUNKS[0][:16]], ids=range(4))
def test_a_short_read_is_truncated(reader, sealed):
    """A blob cut on the disk after its size was noted."""
    with pytest.raises(Truncated):
        reader.open_chunks(0, sealed)


@pytest.mark.parametrize(
    ("first", "sealed"),
    [
        (1, CHUNKS[0]),
        (0, CHUNKS[1]),
        (0, CHUNKS[1] + CHUNKS[0]),
        (3, CHUNKS[2]),
        (3, CHUNKS[3] + b"\0"),
        (2, CHUNKS[2] + CHUNKS[3] + CHUNKS[3]),
    ],
    ids=range(6),
)
def test_chunks_elsewhere_than_they_were_are_refused(reader, first, sealed):
    """Moved, swapped or extended."""
    with pytest.raises(CannotDecrypt):
        reader.open_chunks(first, sealed)


def test_the_last_chunk_must_be_where_the_size_says():
    """A size that was made smaller or larger does not open the end."""
    longer = ChunkReader(KEY, CONTEXT, HEADER, len(SEALED) + SEALED_CHUNK_BYTES)
    with pytest.raises(CannotDecrypt):
        longer.open_chunks(3, SEALED[longer.sealed_range(3, 1)[0] :])
    shorter = ChunkReader(KEY, CONTEXT, HEADER, len(SEALED) - SEALED_CHUNK_BYTES)
    with pytest.raises(CannotDecrypt):
        shorter.open_chunks(2, CHUNKS[3])


@pytest.mark.parametrize("header", [b"", HEADER[:-1], HEADER + b"\0"], ids=[0, 55, 57])
def test_a_header_that_is_not_whole_is_truncated(header):
    """56 bytes, no more and no fewer."""
    with pytest.raises(Truncated):
        ChunkReader(KEY, CONTEXT, header, len(SEALED))


def test_each_call_has_memory_of_its_own(reader):
    """What was handed to the network is not overwritten by the next read."""
    one = reader.open_chunks(0, CHUNKS[0])
    reader.open_chunks(1, CHUNKS[1])
    assert one == DATA[:CHUNK_BYTES]


def test_pieces_that_are_kept_stay_as_they_are_and_any_number_of_chunks_can_follow():
    """The reader never writes into memory that it has returned, whatever sizes follow."""
    plain = random.Random(3).randbytes(9 * CHUNK_BYTES + 5)
    sealed = seal(KEY, CONTEXT, plain)
    reader = ChunkReader(KEY, CONTEXT, sealed[:HEADER_BYTES], len(sealed))
    kept = {}
    for first, count in [(0, 4), (4, 2), (1, 3), (8, 2), (0, 10), (2, 1), (0, 4)]:
        offset, length = reader.sealed_range(first, count)
        kept[first, count] = reader.open_chunks(first, sealed[offset : offset + length])

    for (first, count), piece in kept.items():
        assert piece == plain[first * CHUNK_BYTES : (first + count) * CHUNK_BYTES]
