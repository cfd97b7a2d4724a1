"""The folder vault if processes that face the network have another user than the scheduler (CADUCEE_SEPARATE_USERS).

The scheduler owns the root and its folder `marks/` (2750), so nobody else replaces a mark. It also owns the folders of
the hours (2770), and makes them ahead: the others add and remove entries there, but cannot add or replace a folder.

The layout decides, not the setting: a command that is run without the setting must find the same marks.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from app.domain.transfer import LIFETIME_CEILING
from app.storage import durable_files, hour_folder
from app.storage.durable_files import opened_folder
from app.storage.errors import VaultUnavailable
from app.storage.key_vault import is_mark

MARKS_FOLDER = "marks"
AHEAD = LIFETIME_CEILING + timedelta(days=1)
"""How far ahead the hours are made: no transfer expires later, even if the scheduler is down for a day."""


@contextmanager
def opened_marks(root: int) -> Iterator[int]:
    """Open the folder of the marks in an open vault: `marks/` where it exists, otherwise the root itself."""
    try:
        marks = os.open(MARKS_FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
    except FileNotFoundError:
        yield root
        return
    try:
        yield marks
    finally:
        os.close(marks)


def move_marks(vault: Path) -> None:
    """Move the marks of a vault that had one user into `marks/`, durably. Raises OSError."""
    with opened_folder(vault) as root, opened_folder(MARKS_FOLDER, within=root) as marks:
        with os.scandir(root) as listing:
            names = [found.name for found in listing if is_mark(found.name)]
        for name in names:
            content = durable_files.read_file(name, within=root, max_bytes=1 << 16)
            durable_files.put_once(name, content, within=marks)
            durable_files.remove(name, within=root)
        os.fsync(root)


def strange_marks(root: int) -> Iterator[str]:
    """Yield the places of files in `marks/` that are no marks."""
    with opened_marks(root) as marks:
        if os.path.sameopenfile(marks, root):
            return
        with os.scandir(marks) as listing:
            names = [found.name for found in listing]
    for name in names:
        if not is_mark(durable_files.without_temporary_suffix(name)):
            yield f"{MARKS_FOLDER}/{name}"


def make_hours(vault: Path, now: datetime) -> int:
    """Make the folder and key of each hour from `now` on, AHEAD; return how many were missing.

    Raises VaultUnavailable.
    """
    first = now.replace(minute=0, second=0, microsecond=0)
    hours = [first + timedelta(hours=number) for number in range(AHEAD // timedelta(hours=1) + 1)]
    try:
        with opened_folder(vault) as root:
            there = set(hour_folder.hours_in(root))
            missing = [hour for hour in map(hour_folder.hour_of, hours) if hour not in there]
            for hour in missing:
                hour_folder.make_hour(hour, within=root)
    except OSError as error:
        raise VaultUnavailable(f"key vault, make hours: {error.strerror or error}") from error
    return len(missing)
