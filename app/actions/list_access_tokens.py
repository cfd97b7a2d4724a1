"""List the access tokens' rows; the tokens themselves are not stored. Needs only the database."""

from __future__ import annotations

from app.db import access_token_rows
from app.db.access_token_rows import TokenRow
from app.db.engine import Database


def list_access_tokens(database: Database) -> list[TokenRow]:
    """Return the rows of all tokens, oldest first."""
    with database.reading() as connection:
        return access_token_rows.every(connection)
