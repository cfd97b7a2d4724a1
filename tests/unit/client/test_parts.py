"""A file that is sealed in a thread, ahead of what is sent: the same pieces, errors in their place, no thread left."""

import threading
from contextlib import closing

import pytest

from app.client.errors import FileChanged
from app.client.parts import PIECES_AHEAD, _ahead, _Pieces


def pieces_of(count, made, failure=None):
    for number in range(count):
        made.append((number, threading.current_thread()))
        yield bytes([number])
    if failure is not None:
        raise failure


def test_pieces_arrive_in_order_and_are_made_ahead_in_another_thread():
    made: list[tuple[int, threading.Thread]] = []
    with closing(_ahead(pieces_of(20, made))) as pieces:
        assert next(pieces) == b"\0"
        assert list(pieces) == [bytes([number]) for number in range(1, 20)]
    assert {thread for _, thread in made} & {threading.current_thread()} == set()


def test_a_failure_comes_after_the_pieces_before_it():
    with closing(_ahead(pieces_of(3, [], FileChanged("changed")))) as pieces:
        assert [next(pieces) for _ in range(3)] == [b"\0", b"\1", b"\2"]
        with pytest.raises(FileChanged):
            next(pieces)


def test_a_part_that_breaks_off_leaves_no_thread_and_no_more_than_a_few_pieces():
    """The next attempt reads the same file: two threads would mix its pieces."""
    made: list[tuple[int, threading.Thread]] = []
    with closing(_ahead(pieces_of(1000, made))) as pieces:
        next(pieces)
    ended = len(made)
    assert ended <= PIECES_AHEAD + 2
    assert not any(thread.is_alive() for _, thread in made)


def test_exact_numbers_of_bytes_are_taken_from_pieces_of_any_size():
    pieces = _Pieces(iter([b"abc", b"", b"defgh", b"i"]))
    taken = [b"".join(pieces.take(count)) for count in (2, 0, 4, 3)]
    assert taken == [b"ab", b"", b"cdef", b"ghi"]
