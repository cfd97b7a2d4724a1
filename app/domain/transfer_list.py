"""Lists of transfers: filters, and the position after which the next page begins.

A position consists of values, not of a row: a page begins where the last one ended, whatever rows were added, changed
state or disappeared meanwhile.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from app.domain.errors import InvalidRequest
from app.domain.period import parse_moment
from app.domain.transfer import MAX_FREE_TEXT, TransferState, checked_free_text

MAX_PAGE = 500
"""Transfers of one page, at most."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_POSITION = re.compile(r"([0-9]{1,17})\.([A-Za-z0-9_-]{22})")  # up to the year 5138


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list, which is ordered by creation, then by id, both descending."""

    created_at: datetime
    row_id: str

    def __str__(self) -> str:
        """Return the position as callers pass it: microseconds since 1970, a dot, the id."""
        return f"{(self.created_at - _EPOCH) // timedelta(microseconds=1)}.{self.row_id}"


@dataclass(frozen=True, slots=True)
class TransferFilter:
    """The transfers to list; None means any."""

    state: TransferState | None = None
    owner: str | None = None
    recipient: str | None = None
    since: datetime | None = None


def parse_filter(
    *, state: str | None = None, owner: str | None = None, recipient: str | None = None, since: str | None = None
) -> TransferFilter:
    """Check the filters as a caller writes them. `since`: a date, or a time with its zone. `recipient`: the exact name.
    Raises InvalidRequest, InvalidTime: a misspelt value must not look like an empty list.
    """
    if state is not None and state not in set(TransferState):
        raise InvalidRequest(f"state: one of {', '.join(TransferState)}.")
    if recipient is not None and (named := checked_free_text(recipient, field="recipient")) is None:
        raise InvalidRequest(f"recipient: the recipient's name, 1 to {MAX_FREE_TEXT} characters.")
    return TransferFilter(
        state=None if state is None else TransferState(state),
        owner=owner,
        recipient=None if recipient is None else named,
        since=None if since is None else parse_moment(since),
    )


class _Listed(Protocol):
    """A row of a list that has this order."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def created_at(self) -> datetime:
        """When it was created."""


_Row = TypeVar("_Row", bound=_Listed)


def cut_page(rows: list[_Row], limit: int) -> tuple[list[_Row], Position | None]:
    """Return the first `limit` rows, and the position of the last of them if there are more."""
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], Position(last.created_at, last.id)


def parse_position(text: str) -> Position:
    """Parse the `next` of an earlier page. Raises InvalidRequest."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise InvalidRequest("after: the value of `next` of an earlier page.")
    return Position(_EPOCH + timedelta(microseconds=int(match[1])), match[2])
