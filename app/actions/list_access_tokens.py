"""List the access tokens, without the tokens."""

from __future__ import annotations

from app.db import access_token_rows
from app.db.access_token_rows import TokenRow
from app.resources import Resources


def list_access_tokens(resources: Resources) -> list[TokenRow]:
    """All tokens, oldest first."""
    with resources.database.reading() as connection:
        return access_token_rows.every(connection)
