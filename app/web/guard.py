"""Access control: `admit` guards every route. Routes that are not in OPEN_ROUTES require an access token, in a header,
or the session of a signed-in browser, by its cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from app.actions.authenticate import authenticate, authenticate_session, check_credential
from app.actions.note_session_use import note_session_use
from app.actions.note_token_use import note_token_use
from app.crypto.encoding import decode
from app.crypto.errors import MalformedSecret
from app.crypto.session_secret import is_session_token, session_token
from app.crypto.token import ID_CHARS
from app.domain.access_token import ENDS_SOON, Caller, require_role
from app.domain.errors import (
    ClaimNotFound,
    ClientKeyRequired,
    CrossSiteRequest,
    NotAuthenticated,
    Refusal,
    SessionEnded,
    SessionTokenRequired,
)
from app.domain.network_address import UNKNOWN, client_of, networks
from app.domain.party import party_of
from app.lifecycle.reply import Reply
from app.runtime.resources import Resources
from app.web import session_cookies
from app.web.body_rules import Body, body_of, require_body_as_meant
from app.web.peer import peer_of
from app.web.problems import FAILURES, refusal_for
from app.web.queries import query_names
from app.web.report_pages import read_form, refusal_page, wants_page
from app.web.route_access import (
    FORM_ROUTES,
    HOUSE_FORMS,
    HOUSE_PAGES,
    OPEN_ROUTES,
    PROBES,
    SIGN_IN_FORMS,
    roles_of,
)
from app.web.short_bodies import limited, read_body
from app.web.wire_text import require_known_query, require_possible_token

T = TypeVar("T")

TOKEN_EXPIRES = b"caducee-token-expires"
CLAIM_COOKIE = "caducee_claim"


class GuardedRoute(APIRoute):
    """A route that calls `admit` for each request, before the body is read."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, which counts for its party until the end of its response."""
        with scope["app"].state.resources.fairness.visited():
            await super().handle(scope, receive, send if self.name in OPEN_ROUTES else _warning(scope, send))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's own handler in the guard."""
        handle = super().get_route_handler()
        body = body_of(self.name, self.methods or (), takes_json=self.body_field is not None)
        known = None if self.name in OPEN_ROUTES else query_names(self.dependant)

        async def guarded(request: Request) -> Response:
            if self.name in FORM_ROUTES:
                return await answer_form(request, self.name, handle)
            await admit(request, self.name)
            if self.name not in PROBES:
                await _enter(request)
            if known is not None:
                require_known_query(request, known)
            require_body_as_meant(request, body)
            if body in {Body.JSON, Body.TEXT}:
                request = Request(request.scope, limited(request.receive))
                await read_body(request, resources_of(request).settings.idle_timeout)
                await require_still_valid(request)
            return await handle(request)

        return guarded


def _warning(scope: Scope, send: Send) -> Send:
    """Add `Caducee-Token-Expires` to every response, refusals included, to a token that will expire soon."""

    async def send_warning(message: Message) -> None:
        if message["type"] == "http.response.start":
            caller = scope.get("state", {}).get("caller")
            expires_at = caller.expires_at if isinstance(caller, Caller) else None
            if expires_at is not None and expires_at - scope["app"].state.resources.clock.now() <= ENDS_SOON:
                header = (TOKEN_EXPIRES, f"{expires_at:%Y-%m-%dT%H:%M:%SZ}".encode())
                message = {**message, "headers": [*message.get("headers", []), header]}
        await send(message)

    return send_warning


async def answer_form(
    request: Request, route: str, handle: Callable[[Request], Coroutine[Any, Any, Response]]
) -> Response:
    """Admit and handle a form. A refusal is a page, in the form's language, for a browser."""
    request = Request(request.scope, limited(request.receive))
    try:
        require_same_origin(request)
        await read_body(request, resources_of(request).settings.idle_timeout)
        request.state.form = read_form(await request.body())
        await admit(request, route)
        await _enter(request)
        return await handle(request)
    except (Refusal, *FAILURES) as error:
        if not wants_page(request) or route in HOUSE_FORMS:
            raise
        form: dict[str, str] = getattr(request.state, "form", {})
        return refusal_page(request, refusal_for(error), lang=form.get("lang"), sign_in=route in SIGN_IN_FORMS)


def require_same_origin(request: Request) -> None:
    """Raise CrossSiteRequest if a page of another origin sent this request, according to Fetch Metadata, or else to the
    Origin header. Programs send neither.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    own = resources_of(request).settings.staff_origin
    if site not in {None, "same-origin"} or (site is None and origin not in {None, own}):
        raise CrossSiteRequest


async def admit(request: Request, route: str) -> None:
    """Admit a request to a route. Raises NotAuthenticated, NotAllowed; any other error also denies access."""
    if route in OPEN_ROUTES:
        return
    resources, address = resources_of(request), client_address(request)
    form: dict[str, str] | None = request.state.form if route in FORM_ROUTES else None
    given = request.headers.get("authorization") if form is None else form.get("token")
    token = bearer(request) if form is None else given
    try:
        require_possible_token(given)
        caller = await (_by_session(request, route, form) if token is None else by_token(request, token))
    except (NotAuthenticated, SessionEnded):
        await _enter(request)
        raise
    note_token_use(resources, caller)
    note_session_use(resources, caller)
    request.state.caller = replace(caller, address=address)
    require_role(caller, *roles_of(route))


async def require_still_valid(request: Request) -> None:
    """Raise NotAuthenticated or SessionEnded if the caller's credential was revoked while the body arrived: it could
    otherwise be used for as long as a client keeps a body back.
    """
    caller = getattr(request.state, "caller", None)
    if isinstance(caller, Caller):
        resources = resources_of(request)
        await resources.at_once(check_credential, resources, caller)


async def by_token(request: Request, token: str) -> Caller:
    """Return the caller of an access token. Raises NotAuthenticated, which is counted."""
    resources = resources_of(request)
    try:
        return await resources.at_once(authenticate, resources, token)
    except NotAuthenticated:
        resources.refused_tokens.add(client_address(request))
        raise


async def _by_session(request: Request, route: str, form: dict[str, str] | None) -> Caller:
    """Return the caller whose browser is signed in. A request that may change something must come from this origin's
    own page, and carry the session's token, in a header or a form, which no other origin can read.

    Raises NotAuthenticated, SessionEnded, CrossSiteRequest, SessionTokenRequired.
    """
    resources = resources_of(request)
    secret = session_cookies.session_secret(request, resources.settings)
    if secret is None:
        raise NotAuthenticated
    if request.method in session_cookies.SAFE:
        opens_page = route in HOUSE_PAGES and session_cookies.is_navigation(request)
        if not opens_page and not session_cookies.may_read(request, resources.settings):
            raise NotAuthenticated
        return await resources.at_once(authenticate_session, resources, secret)
    if not session_cookies.comes_from_own_page(request, resources.settings):
        raise CrossSiteRequest
    given = request.headers.get(session_cookies.SESSION_TOKEN_HEADER) or (form or {}).get("session_token", "")
    caller = await resources.at_once(authenticate_session, resources, secret)
    if not is_session_token(given, secret):
        raise SessionTokenRequired
    return caller


async def signed_in(request: Request) -> Caller | None:
    """Return whose browser this is, for a page that shows nobody's data: also when a link on another site opened it.
    Frames and scripts of other origins could tell this page from a redirect, so for them it is nobody's.
    """
    resources = resources_of(request)
    secret = session_cookies.session_secret(request, resources.settings)
    own = session_cookies.is_navigation(request) or session_cookies.may_read(request, resources.settings)
    if secret is None or not own:
        return None
    try:
        return await resources.at_once(authenticate_session, resources, secret)
    except SessionEnded:
        return None


def session_token_of(request: Request) -> str:
    """Return the token of this browser's session, which its pages send back; empty without one."""
    secret = session_cookies.session_secret(request, resources_of(request).settings)
    return "" if secret is None else session_token(secret)


async def _enter(request: Request) -> None:
    """Count the request for its party, and have it wait if that one is greedy."""
    fairness, caller = resources_of(request).fairness, getattr(request.state, "caller", None)
    if isinstance(caller, Caller):
        await fairness.enter_depositor(caller.actor)
    else:
        named = request.path_params.get("share_id") or request.path_params.get("claim_id") or ""
        await fairness.enter_recipient(party_of(client_address(request)), str(named)[:ID_CHARS])


def resources_of(request: Request) -> Resources:
    """Return the resources of this process."""
    resources: Resources = request.app.state.resources
    return resources


def reply_of(request: Request) -> Reply:
    """The response to come, which must still have a receiver when the request takes effect."""
    return Reply(peer_of(request.scope).is_gone)


def caller_of(request: Request) -> Caller:
    """Return the caller that `admit` authenticated. Raises NotAuthenticated if there is none, as on an open route."""
    caller = getattr(request.state, "caller", None)
    if not isinstance(caller, Caller):
        raise NotAuthenticated
    return caller


def bearer(request: Request) -> str | None:
    """Return the token in `Authorization: Bearer`, or None."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def client_key_given(request: Request) -> bytes | None:
    """Return the client key (32 bytes) in `Caducee-Client-Key`, or None. Raises ClientKeyRequired if malformed."""
    text = request.headers.get("caducee-client-key")
    if text is None:
        return None
    try:
        return decode(text, length=32)
    except MalformedSecret:
        raise ClientKeyRequired from None


def claim_token(request: Request) -> bytes:
    """Return the claim token (32 bytes) from `Authorization: Bearer` or a same-origin cookie. Raises ClaimNotFound."""
    text = bearer(request)
    if text is None and session_cookies.comes_from_page_of(request, resources_of(request).settings.recipients_origin):
        text = request.cookies.get(CLAIM_COOKIE)
    try:
        return decode(text or "", length=32)
    except MalformedSecret:
        raise ClaimNotFound from None


def client_address(request: Request) -> str:
    """Return the client's address: the peer's, or the one that trusted proxies report, read from the right."""
    trusted = networks(resources_of(request).settings.trusted_proxies)
    peer = request.client.host if request.client else UNKNOWN
    return client_of(peer, request.headers.getlist("x-forwarded-for"), trusted)


def _here(read: Callable[[Request], T]) -> Callable[[Request], Coroutine[Any, Any, T]]:
    """Return `read` as a coroutine function, because FastAPI runs plain functions in a worker thread."""

    async def read_here(request: Request) -> T:
        return read(request)

    return read_here


CurrentCaller = Annotated[Caller, Depends(_here(caller_of))]
CurrentResources = Annotated[Resources, Depends(_here(resources_of))]
GivenClientKey = Annotated[bytes | None, Depends(_here(client_key_given))]
ClaimToken = Annotated[bytes, Depends(_here(claim_token))]
ClientAddress = Annotated[str, Depends(_here(client_address))]
