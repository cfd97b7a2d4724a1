"""Database errors. Messages never contain row values."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """The database is unreachable, stayed locked, or failed; the transaction was rolled back."""


class SchemaOutdated(Exception):
    """The schema is older or newer than this program's; `caducee db upgrade` upgrades an older one."""


class ChangeUndone(Exception):
    """The database does not hold what was committed, because a trigger or another client changed it back; or it could
    not be read to confirm it.
    """
