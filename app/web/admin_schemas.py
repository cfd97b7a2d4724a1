"""Request and response schemas of the administrators' routes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr

from app.domain.access_token import Role, TokensShown
from app.domain.audit_events import Reason
from app.domain.transfer_list import MAX_PAGE
from app.web.queries import QueryModel
from app.web.schemas import Moment, StrictRequest

Word = Annotated[StrictStr, Field(max_length=100)]


class TokenListQuery(QueryModel):
    """Which tokens to list, and the page."""

    show: TokensShown = TokensShown.EVERY
    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE)
    after: StrictStr | None = Field(None, max_length=60)


class SessionListQuery(QueryModel):
    """The page of the list of sessions; `ended`: also those that have ended."""

    ended: bool = False
    limit: int = Field(MAX_PAGE, ge=1, le=MAX_PAGE)
    after: StrictStr | None = Field(None, max_length=60)


class NewTokenRequest(StrictRequest):
    """A token to issue. Without `owner` it has an owner of its own."""

    name: StrictStr
    role: Role = Role.STAFF
    expires_in: StrictInt | StrictStr
    owner: StrictStr | None = None


class LockdownRequest(StrictRequest):
    """A lockdown to begin; `word` as `GET /lockdown` returns it."""

    word: Word
    reason: Reason | None = None


class IntakeRequest(StrictRequest):
    """Whether new transfers are accepted."""

    intake_off: StrictBool


class TokenCreated(BaseModel):
    """An access token, which is shown only here."""

    id: str
    token: str
    name: str
    role: Role
    expires_at: Moment
    owner: str


class TokenListed(BaseModel):
    """A token without the token. `current`: the request was made with it, or in a session that it began."""

    id: str
    name: str
    role: Role
    state: str
    owner: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None
    current: bool


class TokenList(BaseModel):
    """A page of tokens, newest first. `next` is the `after` of the next page, null at the end; `ending_unreplaced`: how
    many of all tokens end within 14 days and have no successor.
    """

    tokens: list[TokenListed]
    next: str | None
    ending_unreplaced: int


class SessionListed(BaseModel):
    """A session. `state`: `open`, or why it ended. `current`: the request was made in it."""

    id: str
    actor: str
    name: str | None
    subject: str | None
    role: Role
    state: str
    created_at: Moment
    used_at: Moment
    expires_at: Moment
    ended_at: Moment | None
    current: bool


class SessionList(BaseModel):
    """A page of sessions, newest first. `next` is the `after` of the next page, null at the end."""

    sessions: list[SessionListed]
    next: str | None


class Lockdown(BaseModel):
    """Whether the service is locked down, and the word that confirms a lockdown, in the client's language."""

    locked_down: bool
    since: Moment | None
    word: str


class Intake(BaseModel):
    """Whether intake is off, how many transfers are still held, and when the last of them expires."""

    intake_off: bool
    since: Moment | None
    held: int
    last_expires_at: Moment | None
