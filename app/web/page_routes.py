"""Serves the recipient's page and its assets: byte for byte the same for every share id."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.domain.errors import NotFound
from app.runtime.settings import Settings
from app.web.guard import CurrentResources, GuardedRoute
from app.web.pages.assets import WORKER, Asset, assets, lasting_assets, page
from app.web.pages.page_files import RECIPIENT, PageFiles
from app.web.report_pages import known_language

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; worker-src 'self'; "
    "frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types caducee"
)
"""`frame-src` is for downloads served by the service worker. The only Trusted Types policy is for the worker's URL."""

LASTING_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
"""For a name that contains the version. Everything else keeps `no-store`."""

WORKER_HEADERS = {
    "Service-Worker-Allowed": "/s/",
    # The worker fetches nothing. No `sandbox`: a worker with an opaque origin cannot be registered.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@router.head("/s/assets/{name}")
@router.get("/s/assets/{name}")
async def recipient_asset(request: Request, name: str, resources: CurrentResources) -> Response:
    """Return a script, style, image or catalogue of the page."""
    return asset_of(request, resources.settings, RECIPIENT, name)


@router.head("/s/{share_id}")
@router.get("/s/{share_id}")
async def recipient_page(request: Request, share_id: str, resources: CurrentResources, lang: str = "") -> Response:  # noqa: ARG001 - the same page for every id
    """Return the page. Opening it does not claim the share: only its script does, with link and password."""
    language = known_language(request, lang)
    headers = {"Content-Security-Policy": CSP, "Content-Language": language}
    return page_asset(request, page(resources.settings, language), headers)


@router.head("/s/{share_id}/{altered:path}")
@router.get("/s/{share_id}/{altered:path}")
async def altered_page(
    request: Request, share_id: str, altered: str, resources: CurrentResources, lang: str = ""
) -> Response:
    """Return the same page for a link into which a mail program put a slash, before `#` or its encoding."""
    if altered and not altered.startswith(("#", "%23")):
        raise NotFound
    return await recipient_page(request, share_id, resources, lang)


@router.head("/S/{link:path}")
@router.get("/S/{link:path}")
async def capitalised_page(request: Request, link: str, resources: CurrentResources, lang: str = "") -> Response:
    """Return the same page for a link whose `/s/` a program wrote in capitals; its script reads it nevertheless."""
    share_id, _, altered = link.partition("/")
    return await altered_page(request, share_id, altered, resources, lang)


@router.head("/s")
@router.get("/s")
@router.head("/s/")
@router.get("/s/")
@router.head("/")
@router.get("/")
async def recipient_home(request: Request, resources: CurrentResources, lang: str = "") -> Response:
    """Return the page of the bare address, and of a link without anything after `/s`: it says what this service is."""
    language = known_language(request, lang)
    headers = {"Content-Security-Policy": CSP, "Content-Language": language}
    return page_asset(request, page(resources.settings, language, "home"), headers)


def asset_of(request: Request, settings: Settings, page_files: PageFiles, name: str) -> Response:
    """Return a page's asset by its lasting or its plain name. Raises NotFound."""
    lasting = lasting_assets(settings, page_files).get(name)
    if lasting is not None:
        return page_asset(request, lasting, LASTING_HEADERS)
    asset = assets(settings, page_files).get(name)
    if asset is None:
        raise NotFound
    return page_asset(request, asset, WORKER_HEADERS if name == WORKER else {})


def page_asset(request: Request, asset: Asset, headers: dict[str, str]) -> Response:
    """Return the asset, gzipped if the browser accepts that."""
    vary = {"Vary": "Accept-Encoding, Accept-Language"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        zipped = {"Content-Encoding": "gzip"}
        return Response(asset.zipped, media_type=asset.media_type, headers=vary | headers | zipped)
    return Response(asset.content, media_type=asset.media_type, headers=vary | headers)
