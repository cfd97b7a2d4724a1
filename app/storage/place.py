"""The location of a store, for operators and `caducee doctor`."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """A store's location: its name for people, the permission bits of its folder, and its volume (st_dev).

    `mode` and `volume` are None if the store is not a folder or does not exist yet.
    """

    name: str
    mode: int | None = None
    volume: int | None = None


def folder_place(folder: Path) -> Place:
    """Describe a folder. Raises OSError if it cannot be inspected."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return Place(str(folder))
    return Place(str(folder), stat.S_IMODE(found.st_mode), found.st_dev)
