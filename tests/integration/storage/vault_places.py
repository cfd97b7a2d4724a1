"""What the tests of the vault's folders share: names of keys, and where their entries lie."""

from datetime import UTC, datetime, timedelta

from app.crypto.token import new_id, new_secret
from app.domain.vault_entry import EntryName
from app.storage.hour_folder import place_of

EXPIRY = datetime(2026, 3, 1, 14, 20, tzinfo=UTC)
BEFORE = EXPIRY - timedelta(seconds=1)
INSTALLATION = "installation-1"
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def some_name(expires_at=EXPIRY, *, share=False):
    return EntryName(new_id(), expires_at, new_id() if share else None)


def put(vault, name):
    key = new_secret()
    vault.create(name, key)
    return key


def path_of(root, name):
    return root.joinpath(*place_of(name))


def everything_below(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}
