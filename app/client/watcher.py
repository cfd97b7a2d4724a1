"""Who is told how far a send or a fetch is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watcher:
    """`began` is told names and sizes (bytes) of the files, `moved` the index of a file and how much arrived, `waiting`
    the seconds until the next attempt.
    """

    began: Callable[[Iterable[tuple[str, int]]], None] = lambda _files: None
    moved: Callable[[int, int], None] = lambda _index, _bytes: None
    waiting: Callable[[float], None] = lambda _seconds: None
