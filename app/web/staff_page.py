"""The staff's page and its assets: deposit, and the list of what was sent. docs/staff-page.md describes it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.domain.access_token import DEPOSITORS, Caller
from app.web.guard import CurrentResources, GuardedRoute, resources_of
from app.web.page_routes import asset_of, page_asset
from app.web.pages.assets import staff_page_asset
from app.web.pages.page_files import STAFF

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def staff_page(request: Request, caller: Caller, language: str) -> Response:
    """Return the page of somebody who is signed in: for depositors the page with which they send; auditors are sent to
    the pages of the house.
    """
    if caller.role not in DEPOSITORS:
        return RedirectResponse(f"/house?lang={language}", 303)
    headers = {"Content-Security-Policy": CSP, "Content-Language": language}
    return page_asset(request, staff_page_asset(resources_of(request).settings, language), headers)


@router.head("/staff/assets/{name}")
@router.get("/staff/assets/{name}")
async def staff_asset(request: Request, name: str, resources: CurrentResources) -> Response:
    """Return a script, style, image or catalogue of the page."""
    return asset_of(request, resources.settings, STAFF, name)
