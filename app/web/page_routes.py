"""The recipient's page and its assets: byte for byte the same whatever the share's id."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from app.domain.errors import NotFound
from app.web.caller import GuardedRoute, resources_of
from app.web.pages.render import render_recipient_page
from app.web.share_answer import language_of

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
ASSETS = {
    "receive.js": "text/javascript; charset=utf-8",
    "receive.css": "text/css; charset=utf-8",
    "mark.svg": "image/svg+xml",
}


@router.get("/s/assets/{name}")
async def recipient_asset(name: str) -> Response:
    """A script or style of the page."""
    if name not in ASSETS:
        raise NotFound
    return Response(_asset(name), media_type=ASSETS[name])


@router.get("/s/{share_id}")
async def recipient_page(request: Request, share_id: str) -> Response:  # noqa: ARG001 - the same page for every id
    """The page. Opening it redeems nothing: only its script, with link and password, does."""
    language = language_of(request.headers.get("accept-language"))
    html = render_recipient_page(resources_of(request).settings, language)
    headers = {"Content-Security-Policy": CSP, "Content-Language": language, "Vary": "Accept-Language"}
    return Response(html, media_type="text/html; charset=utf-8", headers=headers)


@cache
def _asset(name: str) -> bytes:
    return files("app.web").joinpath("static", name).read_bytes()
