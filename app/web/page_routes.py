"""The recipient's page and its assets: byte for byte the same whatever the share's id."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.domain.errors import NotFound
from app.web.guard import CurrentResources, GuardedRoute
from app.web.pages.assets import Asset, assets, page
from app.web.pages.catalogues import language_of, languages

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; worker-src 'self'; "
    "frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types caducee"
)
"""`frame-src`: downloads that the service worker answers. The one Trusted Types policy names the worker's address."""

WORKER = "sw.js"
WORKER_HEADERS = {
    "Service-Worker-Allowed": "/s/",
    # The worker fetches nothing. No `sandbox` here: a worker without an origin could not be registered.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@router.head("/s/assets/{name}")
@router.get("/s/assets/{name}")
async def recipient_asset(request: Request, name: str, resources: CurrentResources) -> Response:
    """A script, style, image or catalogue of the page."""
    asset = assets(resources.settings).get(name)
    if asset is None:
        raise NotFound
    return _sent(request, asset, WORKER_HEADERS if name == WORKER else {})


@router.head("/s/{share_id}")
@router.get("/s/{share_id}")
async def recipient_page(request: Request, share_id: str, resources: CurrentResources, lang: str = "") -> Response:  # noqa: ARG001 - the same page for every id
    """The page. Opening it redeems nothing: only its script, with link and password, does."""
    language = lang if lang in languages() else language_of(request.headers.get("accept-language"))
    headers = {"Content-Security-Policy": CSP, "Content-Language": language}
    return _sent(request, page(resources.settings, language), headers)


def _sent(request: Request, asset: Asset, headers: dict[str, str]) -> Response:
    """Compressed where the browser takes that: the page then needs a third of the bytes."""
    vary = {"Vary": "Accept-Encoding, Accept-Language"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        zipped = {"Content-Encoding": "gzip"}
        return Response(asset.zipped, media_type=asset.media_type, headers=headers | vary | zipped)
    return Response(asset.content, media_type=asset.media_type, headers=headers | vary)
