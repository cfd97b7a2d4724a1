"""Where a store lies, as operators and `caducee doctor` need to know it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """A store's place: its name for people, the permission bits of its folder, and the number of its volume (st_dev).

    `mode` and `volume` are None when the store is no folder, or is not there yet.
    """

    name: str
    mode: int | None = None
    volume: int | None = None


def folder_place(folder: Path) -> Place:
    """Describe a folder. Raises OSError when it cannot be inspected."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return Place(str(folder))
    return Place(str(folder), stat.S_IMODE(found.st_mode), found.st_dev)
