"""CADUCEE_SEPARATE_USERS: the scheduler has a user of its own, and processes that face the network cannot do its work.

The scheduler's user owns the folders; a group that all processes have shares them. The group reads the signer's folder,
the vault and its marks (2750), and also writes to the database, the blobs and the folders of the hours (2770). ADR 0024
explains the layout, docs/operations.md which command runs as which user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from app.domain.audit_events import ONLY_BY_SCHEDULER, Entry
from app.runtime.settings import Settings
from app.storage.own_entries import OwnEntries
from app.storage.shared_vault import MARKS_FOLDER, move_marks
from app.storage.signing_folder import PRIVATE_KEY

SHARED_UMASK, OWN_UMASK = 0o007, 0o077
_READ_BY_GROUP, _WRITTEN_BY_GROUP = 0o2750, 0o2770


class UsersNotSeparate(Exception):
    """A process that faces the network could do what only the scheduler may: `users_not_separate`."""


class WrongUser(Exception):
    """This command writes what only the scheduler may write, and runs as another user."""


def umask_of(settings: Settings) -> int:
    """Return the umask: files are their user's alone, or also the group's."""
    return SHARED_UMASK if settings.separate_users else OWN_UMASK


def require_network_user(settings: Settings) -> None:
    """Raise UsersNotSeparate if this process could read the signing key, or replace a mark of the vault."""
    if os.geteuid() == 0:
        raise UsersNotSeparate("users_not_separate: root can read the signing key and replace the vault's marks")
    vault = _vault_of(settings)
    key, marks = settings.signing_dir / PRIVATE_KEY, vault / MARKS_FOLDER
    if _can(os.R_OK, key) or _owns(key):
        raise UsersNotSeparate(f"users_not_separate: this user can read the signing key {key}")
    if not marks.is_dir():
        raise UsersNotSeparate(f"users_not_separate: {marks} is missing or unreadable; the scheduler makes it")
    for path in (*marks.iterdir(), marks, vault, settings.signing_dir):
        changeable = next((each for each in _with_parents(path) if _can_change(each)), None)
        if changeable is not None:
            raise UsersNotSeparate(
                f"users_not_separate: this user can replace {path}, because it can change {changeable}"
            )


def require_scheduler_user(settings: Settings) -> None:
    """Raise WrongUser unless this process runs as the user that owns the vault. Without the setting, or before there is
    a vault, anybody may.
    """
    if not settings.separate_users or not _vault_of(settings).exists():
        return
    owner = _vault_of(settings).stat().st_uid
    if owner != os.geteuid():
        raise WrongUser(
            f"only the scheduler's user (uid {owner}) may run this: the vault and the signing key are its own"
        )


def prepare_folders(settings: Settings) -> None:
    """Make the folders of an installation with separate users, and give those that exist their modes; move the marks
    of a vault that had one user. Does nothing without the setting, or for another user than the scheduler's.

    Raises UsersNotSeparate if a folder cannot be made or shared.
    """
    if not settings.separate_users:
        return
    vault = _vault_of(settings)
    if vault.exists() and not _owns(vault):
        return
    database = [settings.database_file.parent] if settings.database_file else []
    try:
        for folder in (settings.data_dir, settings.signing_dir, vault, vault / MARKS_FOLDER):
            _share(folder, _READ_BY_GROUP)
        for folder in (*database, *_blobs_folder(settings)):
            _share(folder, _WRITTEN_BY_GROUP)
        move_marks(vault)
    except OSError as error:
        mounted = "" if vault.exists() else f"; {vault} is missing: is it mounted?"
        raise UsersNotSeparate(f"users_not_separate: {error.filename}: {error.strerror}{mounted}") from error


def keep_own_entries(own: OwnEntries, entries: Sequence[Entry], places: Sequence[tuple[int, bytes]]) -> None:
    """Remember the leaf hashes of those entries of a transaction that only the scheduler writes, before it commits.
    Raises SigningUnavailable for a process of another user.
    """
    mine = [leaf for entry, (_, leaf) in zip(entries, places, strict=True) if entry.event in ONLY_BY_SCHEDULER]
    if mine:
        own.keep(places[-1][0] + 1, mine)


def unshared_folders(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the modes of the folders, for `caducee doctor`."""
    for folder, mode in _expected(settings):
        found = stat.S_IMODE(folder.stat().st_mode) if folder.exists() else None
        if found != mode:
            yield f"{folder}: mode {'missing' if found is None else f'{found:04o}'}, should be {mode:04o}"


def _expected(settings: Settings) -> Iterable[tuple[Path, int]]:
    vault = _vault_of(settings)
    readable = (settings.signing_dir, vault, vault / MARKS_FOLDER)
    writable = (*([settings.database_file.parent] if settings.database_file else []), *_blobs_folder(settings))
    return [*((each, _READ_BY_GROUP) for each in readable), *((each, _WRITTEN_BY_GROUP) for each in writable)]


def _vault_of(settings: Settings) -> Path:
    """Return the folder of the vault. The settings refuse separate users with another kind of vault."""
    if settings.vault_dir is None:
        raise UsersNotSeparate("users_not_separate: the vault is not a folder")
    return settings.vault_dir


def _blobs_folder(settings: Settings) -> list[Path]:
    return [settings.blobs_dir] if settings.blobs_bucket is None else []


def _share(folder: Path, mode: int) -> None:
    """Make a folder, and give it its mode. Within a shared folder mkdir(2) alone does that, where a sandbox forbids to
    set the bit.
    """
    if not folder.exists():
        folder.mkdir(mode & 0o777)
    if stat.S_IMODE(folder.stat().st_mode) != mode:
        folder.chmod(mode)
        if stat.S_IMODE(folder.stat().st_mode) != mode:
            raise OSError(0, "its group is none of this user's", str(folder))


def _with_parents(path: Path) -> list[Path]:
    return [path, *path.absolute().parents, *path.resolve().parents]


def _can_change(path: Path) -> bool:
    """Whether this user could replace what is in a folder, or the content of a file."""
    if _owns(path):
        return True
    sticky = path.is_dir() and path.stat().st_mode & stat.S_ISVTX
    return _can(os.W_OK, path) and not sticky


def _can(mode: int, path: Path) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _owns(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False
