"""Removal of entries and whole hour folders from a key vault. A failure in one folder does not stop the others."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.storage.durable_files import at_once, opened_folder, remove
from app.storage.hour_folder import HOUR_KEY_FILE, name_at
from app.storage.key_vault import PurgeReport


@dataclass(slots=True)
class _Removal:
    """The file names that were removed from one folder, and those that could not be."""

    removed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def destroy_entries(root: int, hour: str, entries: list[str]) -> list[str]:
    """Remove entries of one hour; return the paths that remain, or the hour itself if it could not be opened."""
    result = _Removal()
    try:
        with opened_folder(hour, within=root) as folder:
            _remove_all(entries, within=folder, result=result)
    except FileNotFoundError:
        return []
    except OSError:
        result.failed.append("")
    return [f"{hour}/{entry}" for entry in result.failed]


def destroy_hour_keys(root: int, hour: str) -> list[str]:
    """Remove the hour key and its temporary files; return the paths that remain."""
    try:
        with opened_folder(hour, within=root) as folder:
            names = _due_in(within=folder, ended=True, now_unix=0)
    except FileNotFoundError:
        return []
    except OSError:
        return [f"{hour}/"]
    return destroy_entries(root, hour, [name for name in names if name.startswith(HOUR_KEY_FILE)])


def purge_hour(root: int, hour: str, *, ended: bool, now_unix: int) -> PurgeReport:
    """Purge one hour that has begun or ended, then count what is left. Errors in the hour are reported, not raised."""
    result, left, gone = _Removal(), 0, False
    try:
        with opened_folder(hour, within=root) as folder:
            due = _due_in(within=folder, ended=ended, now_unix=now_unix)
            if due or ended:
                _remove_all(due, within=folder, result=result)
                left = len(_due_in(within=folder, ended=ended, now_unix=now_unix))
        if ended and not left:
            os.rmdir(hour, dir_fd=root)
            gone = True
    except FileNotFoundError:  # another purge was faster
        pass
    except OSError:
        result.failed.append("")
        left = max(left, 1)
    return PurgeReport(
        removed=sum(name_at(hour, name) is not None for name in result.removed),
        hours=int(gone),
        failed=tuple(f"{hour}/{name}" for name in result.failed),
        due_left=left,
    )


def _due_in(*, within: int, ended: bool, now_unix: int) -> list[str]:
    """Return the files to remove from one hour: if the hour has `ended`, all files; otherwise its expired entries.

    Only names are read. A crashed writer's temporary file may be a second link to the hour key, and is treated as one.
    """
    with os.scandir(within) as listing:
        found = [each.name for each in listing]
    return found if ended else [name for name in found if _second_of(name) <= now_unix]


def _remove_all(names: Iterable[str], *, within: int, result: _Removal) -> None:
    """Remove files from an open folder, hour keys first, then sync it once. A file that cannot be removed is recorded
    in `result` and does not prevent the removal of others.

    The folder is synced even if no file existed: an earlier remover may have crashed before its sync. Raises OSError
    if the folder cannot be synced.
    """

    def remove_each(some: Sequence[str]) -> None:
        for name in some:
            try:
                if remove(name, within=within):
                    result.removed.append(name)
            except OSError:
                result.failed.append(name)

    every = list(names)
    remove_each([name for name in every if name.startswith(HOUR_KEY_FILE)])
    at_once(remove_each, [name for name in every if not name.startswith(HOUR_KEY_FILE)])
    os.fsync(within)


def _second_of(file_name: str) -> float:
    """Return when a file of the current hour expires (Unix seconds); infinity for the hour key and temporary files."""
    expiry = file_name.partition(".")[0]
    return int(expiry) if expiry.isascii() and expiry.isdigit() else float("inf")
