"""List the access tokens' rows; the tokens themselves are not stored. Needs only the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.crypto.token import is_id
from app.db import access_token_rows
from app.db.access_token_rows import TokenRow
from app.db.engine import Database
from app.domain.access_token import TokensShown
from app.domain.errors import TokenNotFound
from app.domain.finding import ending_unreplaced
from app.domain.transfer_list import Position


@dataclass(frozen=True, slots=True)
class TokenPage:
    """Tokens, and where the next page begins; `ending`: how many of all tokens end soon and have no successor."""

    rows: list[TokenRow]
    following: Position | None
    ending: int


def list_access_tokens(database: Database) -> list[TokenRow]:
    """Return the rows of all tokens, oldest first."""
    with database.reading() as connection:
        return access_token_rows.every(connection)


def show_access_token(database: Database, token_id: str) -> TokenRow:
    """Return the row of a token. Raises TokenNotFound."""
    with database.reading() as connection:
        row = access_token_rows.find(connection, token_id) if is_id(token_id) else None
    if row is None:
        raise TokenNotFound
    return row


def page_of_tokens(
    database: Database, now: datetime, shown: TokensShown, *, after: Position | None, limit: int
) -> TokenPage:
    """Return a page of the tokens, newest first."""
    with database.reading() as connection:
        rows, following = access_token_rows.page(connection, shown, now, after=after, limit=limit)
        return TokenPage(rows, following, ending_unreplaced(access_token_rows.every(connection), now))
