"""Searches a restored backup for the key vault, and for anything that could hide a copy of it.

Only files of a known kind pass: databases, blobs in their places, plain text. An archive, a link, an unreadable folder
or a file of unknown kind may contain a vault, so each is a finding.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from app.storage.blob_store import BlobStore
from app.storage.durable_files import CACHE_TAG_FILE, INSTALLATION_FILE
from app.storage.key_vault import KeyVault

PIECE = 1 << 20

_DATABASE_FILE = re.compile(r".+\.sqlite(-wal|-shm|-journal)?", re.DOTALL)

# Matched by name as well, because an armoured encrypted file is text.
_PACKED = re.compile(
    r"\.(7z|age|bz2|cpio|gpg|gz|img|iso|lz4|lzma|pgp|qcow2|rar|tar|tbz2|tgz|txz|tzst|xz|zip|zst)(\.|$)", re.IGNORECASE
)


def search_backup(
    restored: Path, blobs: BlobStore, vault: KeyVault, is_database: Callable[[Path], bool] = lambda _: False
) -> Iterator[str]:
    """Yield one line for each problem below the folder of a backup; none if it cannot contain a vault. The stores
    recognise their own files; `is_database` recognises the files of the backup's database.
    """
    unread: list[OSError] = []
    for folder, folders, names in os.walk(restored, onerror=unread.append):
        # Blob store and data folder have an installation file too, but no tag; backup programs that honour the tag
        # leave only the tag of a vault.
        if {INSTALLATION_FILE, CACHE_TAG_FILE} <= {*names}:
            yield _finding("a file of the vault is in the backup", Path(folder, CACHE_TAG_FILE))
        for path in (Path(folder, name) for name in [*folders, *names]):
            problem = _problem(path, vault, lambda each: is_database(each) or blobs.recognises(each))
            if problem is not None:
                yield _finding(problem, path)
    for error in unread:
        yield _finding(f"could not be looked into ({error.strerror})", Path(error.filename))


def _problem(path: Path, vault: KeyVault, recognised: Callable[[Path], bool]) -> str | None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            return None
        if vault.recognises(path.name):
            return "a file of the vault is in the backup"
        if not stat.S_ISREG(mode):
            return "could not be looked into (a link, or neither file nor folder)"
        if not _is_known(path, recognised):
            return "could not be looked into (packed, encrypted or of unknown kind)"
    except OSError as error:
        return f"could not be looked into ({error.strerror})"
    return None


def _is_known(path: Path, recognised: Callable[[Path], bool]) -> bool:
    """Return whether a file is of a kind that contains no other files. A vault's files are random or encrypted bytes,
    so they never pass as text, under any name.
    """
    if _DATABASE_FILE.fullmatch(path.name) or recognised(path):
        return True
    return not _PACKED.search(path.name) and _is_text(path)


def _is_text(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return all("\0" not in piece for piece in iter(partial(file.read, PIECE), ""))
    except UnicodeDecodeError:
        return False


def _finding(problem: str, path: Path) -> str:
    # Names may contain bytes that are not UTF-8, which neither terminals nor JSON accept.
    return f"{problem}: {str(path).encode(errors='backslashreplace').decode()}"
