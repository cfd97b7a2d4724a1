"""One hour of the key vault: the names of its folder and files, and reading and writing them in an open folder.

`<vault>/<YYYY-MM-DDTHH>/` contains `hour.key` (32 random bytes) and, wrapped with it, one entry per shred key that
expires in that hour: `<expiry unix>.<transfer id>` or `<expiry unix>.<transfer id>.<share id>`. Next to a share's
entry, `<expiry unix>.<transfer id>.<share id>.claimed` contains the digest of the token that claimed it (32 bytes, no
key). An expiry on the full hour belongs to the hour that it begins. Hour keys are never cached: each use reads the
file, so removing the file destroys the key.
"""

import os
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import lru_cache

from app.crypto.token import new_secret
from app.domain.vault_entry import EntryName
from app.storage.durable_files import (
    make_folder,
    opened_folder,
    put_once,
    read_file,
    without_temporary_suffix,
)

HOUR_KEY_FILE = "hour.key"
HOUR_KEY_BYTES = 32
ENTRY_MAX_BYTES = 256
CLAIMED = "claimed"
CLAIM_DIGEST_BYTES = 32

_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}", re.ASCII)
ENTRY_PATTERN = r"[0-9]{1,12}(\.[A-Za-z0-9_-]{22}){1,2}"
"""Regular expression for the file name of an entry, in any hour."""
_TRANSFER_AT = slice(11, 33)
"""The position of the transfer's id in an entry's file name, in every year from 2001 to 2286."""


@lru_cache(maxsize=1024)  # many entries expire together
def hour_of(instant: datetime) -> str:
    """Return the name of the UTC hour that contains an instant; the names sort chronologically.

    Raises ValueError for a time without a zone.
    """
    if instant.tzinfo is None:
        raise ValueError("a time without a zone has no hour folder")
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H")


def place_of(name: EntryName) -> tuple[str, str]:
    """Return folder and file name of an entry. Only this function builds paths; EntryName has checked the ids."""
    parts = [str(name.expiry_unix), name.transfer_id]
    if name.share_id is not None:
        parts.append(name.share_id)
    if name.claimed:
        parts.append(CLAIMED)
    return hour_of(name.expires_at), ".".join(parts)


def name_at(hour: str, file_name: str) -> EntryName | None:
    """Return the name of the entry at this place; None for any other file, and for an entry moved to a wrong hour."""
    expiry, *ids = file_name.split(".")
    claimed = ids[2:] == [CLAIMED]
    if len(ids) not in (1, 2) and not claimed:
        return None
    try:
        expires_at = datetime.fromtimestamp(int(expiry), UTC)
        name = EntryName(ids[0], expires_at, ids[1] if len(ids) > 1 else None, claimed)
    except (ValueError, OverflowError, OSError):
        return None
    return name if place_of(name) == (hour, file_name) else None


def is_understood(hour: str, file_name: str) -> bool:
    """Return whether a file belongs in this hour: an entry, the hour key, or a crashed writer's temporary file."""
    return file_name == HOUR_KEY_FILE or name_at(hour, file_name) is not None or _is_leftover(hour, file_name)


def _is_leftover(hour: str, file_name: str) -> bool:
    """Return whether a file is a crashed writer's temporary file. Only the hour key and claim records are first written
    under a temporary name; an entry with such a name is a copy that someone made.
    """
    bare = without_temporary_suffix(file_name)
    if bare == file_name:
        return False
    name = name_at(hour, bare)
    return bare == HOUR_KEY_FILE or (name is not None and name.claimed)


def of_transfers(transfer_ids: AbstractSet[str], *, within: int) -> list[str]:
    """Return the files of an open hour that name one of these transfers, even if in the wrong hour. Temporary files of
    crashed writers are left out if they contain no key.
    """
    named = [name for name in os.listdir(within) if transfer_of(name) in transfer_ids]
    return [name for name in named if not _holds_no_key(name)]


def _holds_no_key(file_name: str) -> bool:
    """Return whether a file is a crashed writer's temporary file for a claim record, in any hour."""
    bare = without_temporary_suffix(file_name)
    return bare != file_name and bare.endswith(f".{CLAIMED}")


def transfer_of(file_name: str) -> str:
    """Return the transfer's id in an entry's file name; for any other name, the characters at that position."""
    return file_name[_TRANSFER_AT]


def names_in(hour: str, *, within: int) -> Iterator[EntryName]:
    """Yield the names of the entries in the open folder of an hour."""
    with os.scandir(within) as listing:
        for found in listing:
            name = name_at(hour, found.name)
            if name is not None:
                yield name


def hours_in(root: int) -> Iterator[str]:
    """Yield the hours of a vault. Everything else in its folder, such as `lost+found`, is skipped."""
    with os.scandir(root) as listing:
        for found in listing:
            if _HOUR.fullmatch(found.name):
                yield found.name


def read_hour_key(*, within: int) -> bytes:
    """Return the hour key. Raises FileNotFoundError if it is gone, OSError unless it has 32 bytes."""
    key = read_file(HOUR_KEY_FILE, within=within, max_bytes=HOUR_KEY_BYTES)
    if len(key) != HOUR_KEY_BYTES:
        raise OSError("an hour key is truncated")
    return key


def read_claim(entry: str, *, within: int) -> bytes:
    """Return the digest (32 bytes) in a claim record. Raises FileNotFoundError if there is none, OSError if damaged."""
    digest = read_file(entry, within=within, max_bytes=CLAIM_DIGEST_BYTES)
    if len(digest) != CLAIM_DIGEST_BYTES:
        raise OSError("a claim record is truncated")
    return digest


def make_hour(hour: str, *, within: int) -> None:
    """Durably create an hour's folder and key, unless they exist. Concurrent callers create exactly one key.

    The root is synced before the key is created, so that the folder of an existing hour key survives a crash.
    """
    make_folder(hour, within=within, group_writes=True)
    os.fsync(within)
    with opened_folder(hour, within=within) as folder:
        put_once(HOUR_KEY_FILE, new_secret(), within=folder)
