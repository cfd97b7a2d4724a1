"""A file that is sealed again from any place: the same ciphertext, or none."""

import os
import random
from pathlib import Path

import pytest

from app.client.errors import FileChanged, NotSendable
from app.client.source import BLOCK_BYTES, SealedSource
from app.crypto import chunked

KEY, CONTEXT = bytes(range(32)), chunked.file_context("A" * 22, 0)


@pytest.fixture
def path(tmp_path):
    """Two blocks and a half, so that a place can lie before, in and behind a block."""
    path = tmp_path / "a.bin"
    path.write_bytes(random.Random(1).randbytes(2 * BLOCK_BYTES + BLOCK_BYTES // 2))
    return path


def source(path: Path) -> SealedSource:
    status = path.stat()
    journal = path.with_name("journal")
    return SealedSource(path, size=status.st_size, changed_ns=status.st_mtime_ns, journal=journal)


def sealed(path: Path, start: int = 0) -> bytes:
    with source(path) as opened:
        return b"".join(opened.sealed(KEY, CONTEXT, start=start))


@pytest.mark.parametrize(
    "start", [1, 55, 56, 57, 56 + 16_400, 56 + 16_401, BLOCK_BYTES, 2 * BLOCK_BYTES + 5_000, -16, -1], ids=str
)
def test_from_any_place_it_is_the_same_ciphertext(path, start):
    whole = sealed(path)
    assert chunked.open_sealed(KEY, CONTEXT, whole) == path.read_bytes()
    at = start % len(whole)
    assert sealed(path, at) == whole[at:]


def test_bytes_that_changed_are_never_encrypted_again(path):
    """Also if size and time of change are the same."""
    whole, status = sealed(path), path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(FileChanged):
        sealed(path, len(whole) - 100)
    with pytest.raises(FileChanged):
        sealed(path)


@pytest.mark.parametrize("left", [0, 10, 24, 24 + 31], ids=str)
def test_without_its_journal_nothing_goes_on(path, left):
    """A journal that was lost or cut: what had been sent is not known, so another salt, or nothing."""
    whole = sealed(path)
    journal = path.with_name("journal")
    journal.write_bytes(journal.read_bytes()[:left])
    with pytest.raises(FileChanged):
        sealed(path, 100)
    again = sealed(path)
    assert (again[:24] == whole[:24]) == (left >= 24)


def test_a_file_that_shrinks_or_grows_while_it_is_sent_is_noticed(path):
    with source(path) as opened:
        pieces = opened.sealed(KEY, CONTEXT, start=0)
        next(pieces)
        os.truncate(path, 100)
        with pytest.raises(FileChanged):
            b"".join([*pieces, bytes(opened.crc32)])


def test_an_empty_file_has_a_ciphertext_too(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert chunked.open_sealed(KEY, CONTEXT, sealed(path)) == b""
    assert sealed(path, 60) == sealed(path)[60:]
    path.with_name("journal").unlink()
    with pytest.raises(FileChanged):
        sealed(path, 60)


def test_what_took_a_file_s_place_is_not_read(path, tmp_path):
    """A file of somebody else, by a link; or nothing at all."""
    status, journal = path.stat(), path.with_name("journal")
    kept = {"size": status.st_size, "changed_ns": status.st_mtime_ns, "journal": journal}
    os.link(path, tmp_path / "other")
    with SealedSource(path, **kept):
        pass
    with pytest.raises(FileChanged), SealedSource(path, **kept, only_link=True):
        pass
    path.unlink()
    with pytest.raises(FileChanged), SealedSource(path, **kept):
        pass
    path.symlink_to(tmp_path / "other")
    with pytest.raises(NotSendable), SealedSource(path, **kept):
        pass
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(NotSendable), SealedSource(path, **kept):
        pass
