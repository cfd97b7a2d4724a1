"""List the access tokens, without the tokens. Needs the database alone."""

from __future__ import annotations

from app.db import access_token_rows
from app.db.access_token_rows import TokenRow
from app.db.engine import Database


def list_access_tokens(database: Database) -> list[TokenRow]:
    """All tokens, oldest first."""
    with database.reading() as connection:
        return access_token_rows.every(connection)
