"""Sign-in of staff with a browser: by access token, or at the institution's identity provider; and sign-out.

docs/single-sign-on.md describes the flow. The pages work without a script. The address to which the provider returns
holds a code that counts once; nothing here puts a secret into a path, and the request log holds no query.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from app.actions.begin_sign_in import begin_sign_in
from app.actions.sign_in_by_provider import ProviderReturn, sign_in_by_provider
from app.actions.sign_in_by_token import sign_in_by_token
from app.actions.sign_out import sign_out as end_session
from app.actions.sign_out_by_provider import sign_out_by_provider
from app.crypto.errors import MalformedSecret
from app.crypto.session_secret import SignInAttempt
from app.domain.access_token import AUDITORS
from app.domain.errors import (
    CrossSiteRequest,
    LogoutTokenRefused,
    Refusal,
    SignInNotOffered,
    TokenSignInNotOffered,
)
from app.lifecycle.session_start import StartedSession
from app.runtime.resources import Resources
from app.web import session_cookies as cookies
from app.web.guard import (
    ClientAddress,
    CurrentCaller,
    CurrentResources,
    GuardedRoute,
    by_token,
    signed_in,
)
from app.web.page_routes import recipient_home
from app.web.problems import FAILURES, refusal_for
from app.web.report_pages import known_language, leaving_response, refusal_page, sign_in_response, wants_page
from app.web.schemas import SignedOut
from app.web.staff_page import staff_page

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@router.head("/")
@router.get("/")
async def staff_home(request: Request, resources: CurrentResources, lang: str = "") -> Response:
    """Return the staff's page to who is signed in; to others the sign-in page, or, on an origin that recipients share,
    their page.
    """
    caller = await signed_in(request)
    if caller is not None:
        return staff_page(request, caller, known_language(request, lang))
    if resources.settings.staff_origin == resources.settings.recipients_origin:
        return await recipient_home(request, resources, lang)
    return _sign_in_page(request, resources, lang)


@router.get("/sign-in")
async def sign_in_page(request: Request, resources: CurrentResources, lang: str = "", signed_out: str = "") -> Response:
    """Return the page that offers the way to sign in. The provider's sign-out leads back to it, too."""
    return _sign_in_page(request, resources, lang, signed_out_here=signed_out == "here")


@router.post("/sign-in")
async def sign_in(request: Request, resources: CurrentResources, address: ClientAddress) -> Response:
    """Sign in with the access token of the form. Only this service's own page may send it: another site could sign a
    visitor in as somebody else.
    """
    if not resources.settings.offers_sign_in:
        raise SignInNotOffered
    if resources.provider is not None:
        raise TokenSignInNotOffered
    if not cookies.comes_from_own_page(request, resources.settings):
        raise CrossSiteRequest
    caller = await by_token(request, request.state.form.get("token", ""))
    earlier = cookies.session_secret(request, resources.settings)
    started = await resources.in_thread(sign_in_by_token, resources, caller, address=address, earlier=earlier)
    return _signed_in(request, started, resources)


@router.get("/sign-in/start")
async def sign_in_start(request: Request, resources: CurrentResources) -> Response:
    """Send the browser to the identity provider. A link on another site leads to the sign-in page first."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return RedirectResponse("/sign-in", 303)

    async def begin() -> Response:
        url, attempt = await begin_sign_in(resources)
        response = RedirectResponse(url, 303)
        cookies.put_sign_in(response, attempt.cookie, resources.settings)
        return response

    return await _or_page(request, begin)


@router.get("/sign-in/callback")
async def sign_in_callback(
    request: Request,
    resources: CurrentResources,
    address: ClientAddress,
    state: str = "",
    code: str | None = None,
    iss: str | None = None,
) -> Response:
    """Sign in who returns from the provider. Whatever happens, this return counts once: the attempt's cookie goes."""

    async def finish() -> Response:
        returned = ProviderReturn(_attempt(request, resources), state, code, iss)
        earlier = cookies.session_secret(request, resources.settings)
        started = await sign_in_by_provider(resources, returned, address=address, earlier=earlier)
        return _signed_in(request, started, resources)

    response = await _or_page(request, finish)
    cookies.take_back(response, cookies.SIGN_IN, resources.settings)
    return response


@router.post("/sign-in/logout")
async def provider_logout(request: Request, resources: CurrentResources, address: ClientAddress) -> Response:
    """End the sessions that the provider's logout token names (back-channel logout)."""
    token = request.state.form.get("logout_token")
    if token is None:
        raise LogoutTokenRefused
    await sign_out_by_provider(resources, token, address=address)
    return Response(status_code=200)


@router.post("/sign-out")
async def sign_out(request: Request, caller: CurrentCaller, resources: CurrentResources) -> Response:
    """End this browser's session; then the browser goes to the provider's sign-out, or to the sign-in page, which says
    so if the person may still be signed in at the provider. A script is told where, a form is led there.
    """
    address = await end_session(resources, caller, id_token=cookies.id_token(request, resources.settings))
    here = "/sign-in" if resources.provider is None else "/sign-in?signed_out=here"
    response: Response
    if not wants_page(request):
        response = JSONResponse(SignedOut(next=address or here).model_dump())
    elif address is None:
        response = RedirectResponse(here, 303)
    else:
        response = leaving_response(address, known_language(request, request.state.form.get("lang")))
    cookies.take_back_session(response, resources.settings)
    return response


def _sign_in_page(request: Request, resources: Resources, lang: str, *, signed_out_here: bool = False) -> Response:
    language = known_language(request, lang)
    if not resources.settings.offers_sign_in:
        return refusal_page(request, SignInNotOffered(), lang=language, sign_in=True)
    return sign_in_response(resources.settings, language, signed_out_here=signed_out_here)


def _signed_in(request: Request, started: StartedSession, resources: Resources) -> Response:
    back = cookies.way_back(request, resources.settings) if started.row.role in AUDITORS else None
    response = RedirectResponse(back or "/", 303)
    if back is not None:
        cookies.take_back(response, cookies.WAY_BACK, resources.settings)
    cookies.put_session(response, started.secret, resources.settings)
    cookies.put_id_token(response, started.id_token, resources.settings)
    return response


def _attempt(request: Request, resources: Resources) -> SignInAttempt | None:
    text = request.cookies.get(cookies.name_of(cookies.SIGN_IN, resources.settings))
    try:
        return None if text is None else SignInAttempt.from_cookie(text)
    except MalformedSecret:
        return None


async def _or_page(request: Request, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Return the answer, or its refusal as a page: a browser was sent here, and no script reads a document."""
    try:
        return await answer()
    except (Refusal, *FAILURES) as error:
        return refusal_page(request, refusal_for(error), lang=None, sign_in=True)
