"""Access tokens and sessions on the pages of the house, for administrators: list, create, revoke.

The actions are those of the API (`admin_routes.py`). A token is in one response only: a page that no cache keeps, at
an address that does not contain it. Before people revoke what they are signed in with, the page warns them; afterwards
they are signed out.
"""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from app.actions.issue_token_for_administrator import issue_token_for_administrator
from app.actions.list_access_tokens import page_of_tokens, show_access_token
from app.actions.list_sessions import page_of_sessions, show_session
from app.actions.revoke_access_token import revoke_access_token
from app.actions.revoke_session import revoke_session
from app.crypto.token import new_id
from app.db.access_token_rows import TokenRow
from app.domain.access_token import ENDS_SOON, Role, TokensShown, TokenState, token_state
from app.domain.administration import LIFETIME_DAYS, ROLES
from app.domain.audit_events import Reason
from app.domain.duration import parse_duration
from app.domain.errors import InvalidRequest, NotAuthenticated, Refusal, SessionEnded
from app.domain.idempotency import checked_key
from app.domain.transfer_list import parse_position
from app.lifecycle.new_access_token import IssuedToken, TokenRequest
from app.web import session_cookies as cookies
from app.web.guard import reply_of
from app.web.house_page import House, HouseRoute, InHouse, reason_of, reasons
from app.web.problems import STATUS
from app.web.report_pages import wants_page

router = APIRouter(prefix="/house", route_class=HouseRoute, include_in_schema=False)

ROWS = 50
"""Rows of one page."""


@router.get("/tokens")
async def house_tokens(house: InHouse, after: str | None = None, show: TokensShown = TokensShown.VALID) -> Response:
    """Return a page of the tokens, newest first: unless asked for others, those that are accepted."""
    position = None if after is None else parse_position(after)
    now, database = house.resources.clock.now(), house.resources.database
    page = await house.resources.in_thread(page_of_tokens, database, now, show, after=position, limit=ROWS)
    return house.page(
        "tokens",
        rows=[(row, _state(house, row)) for row in page.rows],
        ending=page.ending,
        show=show,
        shows=[*TokensShown],
        own=house.caller.token_id,
        offered=ROLES,
        later=page.following,
        first=after,
    )


@router.get("/tokens/new")
async def house_new_token(house: InHouse, renew: str | None = None) -> Response:
    """Return the form for a new token; `renew` is the id of the token whose successor it is."""
    return await _token_form(house, renew, {})


@router.post("/tokens/new")
async def house_create_token(house: InHouse) -> Response:
    """Create a token, and return the page that shows it. A refusal returns the form as it was filled in."""
    try:
        issued = await _issue(house)
    except Refusal as refusal:
        if isinstance(refusal, NotAuthenticated | SessionEnded) or not wants_page(house.request):
            raise
        return await _token_form(house, house.fields.get("renew"), house.fields, refusal)
    row, now = issued.row, house.resources.clock.now()
    soon = row.expires_at is not None and row.expires_at - now <= ENDS_SOON
    return house.page(
        "tokens",
        template="token_created",
        row=row,
        secret=issued.token,
        replaced=issued.replaced,
        soon=soon,
        status=201,
    )


@router.get("/tokens/revoke")
async def house_revocation(house: InHouse, id: str = "") -> Response:  # noqa: A002 - the name in the address
    """Return the question whether to revoke a token, or when it was revoked."""
    row = await house.resources.in_thread(show_access_token, house.resources.database, id)
    return house.page(
        "tokens",
        template="token_revoke",
        row=row,
        state=_state(house, row),
        own=house.caller.token_id,
        reason_values=[*Reason],
    )


@router.post("/tokens/revoke")
async def house_revoke_token(house: InHouse) -> Response:
    """Revoke a token, and return to what became of it; to the sign-in page, if it is the one that signed in."""
    token_id, resources = house.fields.get("id", ""), house.resources
    reason = reason_of(house)
    await resources.in_thread(show_access_token, resources.database, token_id)
    await resources.in_thread(
        revoke_access_token, resources.database, resources.clock, token_id, reason=reason, caller=house.caller
    )
    return _revoked(house, "/house/tokens/revoke", token_id, own=token_id == house.caller.token_id)


@router.get("/sessions")
async def house_sessions(house: InHouse, after: str | None = None, *, ended: bool = False) -> Response:
    """Return a page of the sessions, newest first; with `ended`, also those that are over."""
    position = None if after is None else parse_position(after)
    now, database = house.resources.clock.now(), house.resources.database
    rows, following = await house.resources.in_thread(
        page_of_sessions, database, now, ended=ended, after=position, limit=ROWS
    )
    return house.page("sessions", rows=rows, ended=ended, own=_own_session(house), later=following, first=after)


@router.get("/sessions/revoke")
async def house_sign_out(house: InHouse, id: str = "") -> Response:  # noqa: A002 - the name in the address
    """Return the question whether to end a session, or why it ended."""
    resources = house.resources
    listed = await resources.in_thread(show_session, resources.database, resources.clock.now(), id)
    return house.page(
        "sessions", template="session_revoke", listed=listed, own=_own_session(house), reason_values=[*Reason]
    )


@router.post("/sessions/revoke")
async def house_revoke_session(house: InHouse) -> Response:
    """End a session, and return to what became of it; to the sign-in page, if it is this browser's."""
    session_id, resources = house.fields.get("id", ""), house.resources
    reason = reason_of(house)
    await resources.in_thread(show_session, resources.database, resources.clock.now(), session_id)
    await resources.in_thread(
        revoke_session, resources.database, resources.clock, session_id, reason=reason, caller=house.caller
    )
    return _revoked(house, "/house/sessions/revoke", session_id, own=session_id == _own_session(house))


async def _issue(house: House) -> IssuedToken:
    fields, resources = house.fields, house.resources
    renewed = await _renewed(house, fields.get("renew"))
    role = fields.get("role", "")
    if role not in set(Role):
        raise InvalidRequest
    wanted = TokenRequest(
        name=fields.get("name", ""),
        role=Role(role),
        lifetime=parse_duration(fields.get("expires_in", "")),
        owner=None if renewed is None else renewed.owner,
    )
    key, reply = checked_key(fields.get("key", "")), reply_of(house.request)
    return await resources.in_thread(
        issue_token_for_administrator, resources, house.caller, wanted, key=key, reply=reply
    )


async def _token_form(
    house: House, renew: str | None, filled: dict[str, str], refusal: Refusal | None = None
) -> Response:
    """Return the form, with a key of its own: whatever is sent twice from it makes one token."""
    renewed = await _renewed(house, renew)
    preset = {} if renewed is None else {"name": renewed.name, "role": renewed.role}
    return house.page(
        "tokens",
        template="token_new",
        renewed=renewed,
        key=new_id(),
        fields={"name": "", "role": ROLES[0], "expires_in": "90d"} | preset | filled,
        offered=ROLES,
        lifetimes=LIFETIME_DAYS,
        refusal=None if refusal is None else reasons(refusal, house.language)[-1],
        status=200 if refusal is None else STATUS[type(refusal)],
    )


async def _renewed(house: House, token_id: str | None) -> TokenRow | None:
    if token_id is None:
        return None
    return await house.resources.in_thread(show_access_token, house.resources.database, token_id)


def _state(house: House, row: TokenRow) -> TokenState:
    return token_state(revoked_at=row.revoked_at, expires_at=row.expires_at, now=house.resources.clock.now())


def _own_session(house: House) -> str | None:
    return None if house.caller.session is None else house.caller.session.id


def _revoked(house: House, path: str, revoked: str, *, own: bool) -> Response:
    if not own:
        return RedirectResponse(f"{path}?{urlencode({'lang': house.language, 'id': revoked})}", 303)
    response = RedirectResponse(f"/sign-in?{urlencode({'lang': house.language})}", 303)
    cookies.take_back_session(response, house.resources.settings)
    return response
