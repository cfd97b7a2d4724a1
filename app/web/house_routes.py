"""The pages of the house: what an auditor reads. docs/house-page.md describes them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.web.guard import CurrentResources, GuardedRoute
from app.web.house_page import HouseRoute, InHouse
from app.web.page_routes import asset_of
from app.web.pages.page_files import HOUSE

router = APIRouter(route_class=HouseRoute, include_in_schema=False)
asset_router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@router.get("/house")
async def house_overview(house: InHouse) -> Response:
    """Return the list of views, each with what it is for."""
    return house.page("overview")


@asset_router.head("/house/assets/{name}")
@asset_router.get("/house/assets/{name}")
async def house_asset(request: Request, name: str, resources: CurrentResources) -> Response:
    """Return a style or image of the pages."""
    return asset_of(request, resources.settings, HOUSE, name)
