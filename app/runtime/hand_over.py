"""Root hands over: a command that root runs becomes the user whose files it will open, before it opens any.

Otherwise root leaves files that the service cannot read: marks, keys, a reserve, a write-ahead log. The change is for
good; the process cannot become root again.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from app.runtime.separate_users import UsersNotSeparate, WrongUser
from app.runtime.settings import Settings

ROOT = 0


def hand_over(settings: Settings) -> None:
    """Become the user that owns the installation, if root runs this.

    Raises WrongUser if its folders belong to different users, or if the users are separate and root owns all of them.
    """
    blobs = [settings.blobs_dir] if settings.blobs_bucket is None else []
    stores = [*blobs, *_vault_folder(settings), settings.signing_dir]
    _hand_over(settings, [settings.data_dir, *_database_folder(settings), *stores])


def hand_over_for_database(settings: Settings) -> None:
    """The same, for a command that needs only the database: the other folders may be gone."""
    _hand_over(settings, _database_folder(settings) or [settings.data_dir])


def hand_over_for_vault(settings: Settings) -> None:
    """The same, for a command that needs only the vault."""
    _hand_over(settings, _vault_folder(settings) or [settings.data_dir])


def hand_over_for_network(settings: Settings) -> None:
    """The same, for a process that faces the network. Raises UsersNotSeparate where it has a user of its own, whom the
    folders do not show.
    """
    if settings.separate_users and os.geteuid() == ROOT:
        raise UsersNotSeparate("users_not_separate: root can read the signing key; run `serve` as the network's user")
    hand_over(settings)


def _database_folder(settings: Settings) -> list[Path]:
    return [settings.database_file.parent] if settings.database_file else []


def _vault_folder(settings: Settings) -> list[Path]:
    return [settings.vault_dir] if settings.vault_dir else []


def _hand_over(settings: Settings, places: Sequence[Path]) -> None:
    if os.geteuid() != ROOT:
        return
    owners = _owners(places)
    if len({uid for uid, _ in owners.values()}) > 1:
        listed = ", ".join(f"{place} to uid {uid}" for place, (uid, _) in owners.items())
        raise WrongUser(f"root cannot tell whose command this is: {listed}. Run it as the service's user")
    if owners:
        _become(*next(iter(owners.values())))
    elif settings.separate_users:
        place = places[0]
        there = f"root owns {place}" if place.exists() else f"{place} is missing (is it mounted?), root owns its parent"
        raise WrongUser(
            f"{there}, but CADUCEE_SEPARATE_USERS needs a user for the scheduler: make the folders, and "
            "give them to that user first"
        )


def _owners(places: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return owner and group of each place that does not belong to root. Where none of them exists yet, those of the
    folder in which the first would be made.
    """
    existing = [place for place in places if place.exists()]
    if not existing:
        existing = [next(each for each in places[0].parents if each.exists())]
    found = {place: place.stat() for place in existing}
    return {place: (status.st_uid, status.st_gid) for place, status in found.items() if status.st_uid != ROOT}


def _become(uid: int, gid: int) -> None:
    """Change to a user, with its groups and this one. Raises WrongUser where root may not, as in some containers."""
    try:
        account = pwd.getpwuid(uid)
        gid = gid or account.pw_gid
        groups = os.getgrouplist(account.pw_name, gid)
    except KeyError:  # a user of another host or container
        gid = gid or uid
        groups = [gid]
    try:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise WrongUser(f"root cannot become uid {uid} here ({error.strerror}): run the command as that user") from None
