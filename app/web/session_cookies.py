"""The cookies of signed-in browsers: their names, and when a cookie counts as its owner's own act.

A browser sends cookies with requests that other sites make. So a cookie counts only in requests of this origin's own
pages, by Fetch Metadata or else by the Origin header; the guard also asks for the session's token before a change.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from fastapi import Request, Response

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.domain.network_address import parse_origin
from app.domain.session import SIGN_IN_LASTS
from app.runtime.settings import Settings

SESSION, SIGN_IN, WAY_BACK = "caducee-session", "caducee-sign-in", "caducee-way-back"
ID_TOKEN, SIGN_OUT = "caducee-id-token", "/sign-out"
SESSION_TOKEN_HEADER = "caducee-session-token"  # noqa: S105 - the name of a header
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_ID_TOKEN = 3_900
"""Browsers drop a cookie of more than 4096 bytes, name and value together."""

_HOUSE_PAGE = re.compile(r"/house(/[A-Za-z0-9_-]+){0,3}(\?[!-~]{0,1000})?")
_JWT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*){2,4}", re.ASCII)


def session_secret(request: Request, settings: Settings) -> bytes | None:
    """Return the secret (32 bytes) of the session's cookie, or None if there is none that could be one, or where this
    service offers no sign-in.
    """
    text = request.cookies.get(name_of(SESSION, settings))
    if text is None or not settings.offers_sign_in:
        return None
    try:
        return decode(text, length=32)
    except MalformedSecret:
        return None


def comes_from_own_page(request: Request, settings: Settings) -> bool:
    """Return whether a page of the staff's origin sent this request."""
    return comes_from_page_of(request, settings.staff_origin)


def comes_from_page_of(request: Request, origin: str) -> bool:
    """Return whether a page of `origin`, one of this service's, sent the request: by Fetch Metadata, or else by the
    Origin header. A request with neither header was sent by no page.

    Sec-Fetch-Site is `none` when the browser itself makes the request (an address typed, a download resumed): no page
    made it, so no other site did either. Such a request may read.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin" or (site == "none" and request.method in SAFE)
    return parse_origin(request.headers.get("origin", "")) == origin


def may_read(request: Request, settings: Settings) -> bool:
    """Return whether the cookie counts in a request that changes nothing: not in one that another origin's page makes.
    Browsers without Fetch Metadata say nothing about the reader's origin, and let no other origin read the response.
    """
    headers = request.headers
    return comes_from_own_page(request, settings) or ("sec-fetch-site" not in headers and "origin" not in headers)


def is_navigation(request: Request) -> bool:
    """Return whether the browser opens the response as a page, which nobody but its user can read: in a tab, not in a
    frame, and not for a script.
    """
    headers = request.headers
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def put_session(response: Response, secret: bytes, settings: Settings) -> None:
    """Give the browser its session."""
    _put(response, SESSION, encode(secret), settings, seconds=None)


def put_sign_in(response: Response, value: str, settings: Settings) -> None:
    """Give the browser a sign-in that waits for the provider."""
    _put(response, SIGN_IN, value, settings, seconds=SIGN_IN_LASTS.total_seconds())


def put_way_back(response: Response, page: str, settings: Settings) -> None:
    """Remember the page of the house that was asked for without a session: a sign-in leads back to it."""
    if _HOUSE_PAGE.fullmatch(page):
        _put(response, WAY_BACK, quote(page, safe=""), settings, seconds=SIGN_IN_LASTS.total_seconds())


def way_back(request: Request, settings: Settings) -> str | None:
    """Return the page of the house to which a sign-in leads back, if one was asked for. Whatever the cookie holds, it
    leads nowhere else.
    """
    page = unquote(request.cookies.get(name_of(WAY_BACK, settings), ""))
    return page if _HOUSE_PAGE.fullmatch(page) else None


def put_id_token(response: Response, token: str | None, settings: Settings) -> None:
    """Give the browser the ID token of its sign-in, with which it signs out at the provider: the service stores none.
    Only the sign-out receives it. One that is too long is not kept, and the provider asks the person instead.
    """
    fits = token is not None and len(token) <= MAX_ID_TOKEN and _JWT.fullmatch(token)
    _put(response, ID_TOKEN, token if token and fits else "", settings, seconds=None if fits else 0)


def id_token(request: Request, settings: Settings) -> str | None:
    """Return the ID token of this browser's sign-in, None without one."""
    token = request.cookies.get(name_of(ID_TOKEN, settings), "")
    return token if len(token) <= MAX_ID_TOKEN and _JWT.fullmatch(token) else None


def take_back(response: Response, cookie: str, settings: Settings) -> None:
    """Remove a cookie from the browser."""
    _put(response, cookie, "", settings, seconds=0)


def take_back_session(response: Response, settings: Settings) -> None:
    """Remove everything of a session from the browser: its secret, and the ID token that began it."""
    for cookie in (SESSION, ID_TOKEN):
        take_back(response, cookie, settings)


def name_of(cookie: str, settings: Settings) -> str:
    """Return a cookie's name. With the prefix `__Host-`, no other host and no request without TLS can set it; browsers
    accept it only with TLS, so a loopback origin without TLS has none, and only for the path `/`: elsewhere,
    `__Secure-` keeps out requests without TLS.
    """
    if not _has_tls(settings):
        return cookie
    return f"__{'Secure' if cookie == ID_TOKEN else 'Host'}-{cookie}"


def _put(response: Response, cookie: str, value: str, settings: Settings, *, seconds: float | None) -> None:
    """`seconds` None: the browser forgets it when it is closed."""
    response.set_cookie(
        name_of(cookie, settings),
        value,
        max_age=None if seconds is None else int(seconds),
        path=SIGN_OUT if cookie == ID_TOKEN else "/",
        secure=_has_tls(settings),
        httponly=True,
        samesite="lax",
    )


def _has_tls(settings: Settings) -> bool:
    return settings.staff_origin.startswith("https://")
