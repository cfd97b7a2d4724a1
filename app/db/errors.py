"""What the database may answer other than rows. Messages never hold values."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """The database cannot be reached, stayed locked, or refused; the transaction was rolled back."""


class SchemaOutdated(Exception):
    """The schema is older or newer than this program; `caducee db upgrade` brings it up to date."""


class ChangeUndone(Exception):
    """What was committed is not what the database says afterwards: a trigger, or somebody else, changes it back."""
