"""What can be told of a blob by its length alone."""

import pytest

from app.crypto.chunked import PassingBlob, sealed_size
from app.crypto.errors import Truncated


def passed(*lengths: int) -> PassingBlob:
    passing = PassingBlob()
    for length in lengths:
        (data,) = passing.update(bytes(length))
        assert len(data) == length
    return passing


@pytest.mark.parametrize("size", [0, 1, 16_383, 16_384, 16_385, 100_000, 3_000_000])
def test_what_an_encryptor_would_give_passes_and_its_plaintext_is_counted(size):
    for piece in (1_000, 65_536):
        whole, rest = divmod(sealed_size(size), piece)
        passing = passed(*[piece] * whole, rest)
        assert passing.finish() == b""
        assert passing.size == size


@pytest.mark.parametrize("length", [0, 1, 56, 71, 56 + 16_400, 56 + 16_400 + 15, 56 + 2 * 16_400])
def test_a_length_that_no_blob_has_is_refused(length):
    with pytest.raises(Truncated):
        passed(length).finish()


def test_the_count_never_runs_ahead_of_what_has_passed():
    """A limit is judged by it while the bytes come: it may lag by a tag, never lead."""
    passing, before = PassingBlob(), 0
    for length in range(1, 60_000, 7):
        passing.update(bytes(7))
        assert before <= passing.size <= length + 6
        before = passing.size
