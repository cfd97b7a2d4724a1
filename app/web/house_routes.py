"""The pages of the house for auditors: the overview and the reports. docs/house-page.md describes them.

Each report is the one that `audit_routes.py` returns, and can be saved as a self-contained page or as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from app.actions.report_deliveries import report_deliveries
from app.actions.report_exposure import report_exposure
from app.domain.errors import InvalidTime
from app.domain.period import Period, form_time, parse_period, with_zone
from app.reports.deliveries import deliveries_content
from app.reports.exposure import exposure_content
from app.reports.page import Page
from app.reports.retention import retention_content
from app.runtime.resources import Resources
from app.web.audit_answers import deliveries_answer, exposure_answer, in_turn, retention_answer, retention_of
from app.web.guard import CurrentResources, GuardedRoute
from app.web.house_page import HouseRoute, InHouse, reasons, saved
from app.web.page_routes import asset_of
from app.web.pages.page_files import HOUSE

router = APIRouter(route_class=HouseRoute, include_in_schema=False)
asset_router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

R = TypeVar("R")

WEEK = timedelta(days=8)
"""How far the period of a report reaches back unless another one is asked for: the DPO's weekly routine."""


class SavedAs(StrEnum):
    """The kinds of file that a report is saved as."""

    HTML = "html"
    JSON = "json"


class PeriodForm:
    """The period that a view's form asks for; none before the form was sent."""

    def __init__(
        self,
        house: InHouse,
        since: Annotated[str | None, Query(alias="from", max_length=40)] = None,
        until: Annotated[str | None, Query(alias="to", max_length=40)] = None,
    ) -> None:
        """FastAPI calls this with the parameters of the address."""
        self.house, self.since, self.until = house, since, until or None

    def period(self) -> Period | None:
        """Return the period. Raises InvalidTime."""
        if self.since is None:
            return None
        zone, ends = self.house.resources.settings.zone, self.until
        until = None if ends is None else with_zone(ends, zone, ends=True)
        return parse_period(with_zone(self.since, zone), until, self.house.resources.clock.now())

    def fields(self) -> dict[str, str]:
        """Return what the form's fields show."""
        zone = self.house.resources.settings.zone
        now = self.house.resources.clock.now().astimezone(zone)
        since = f"{now - WEEK:%Y-%m-%dT00:00}" if self.since is None else form_time(self.since, zone)
        return {"since": since, "until": form_time(self.until or "", zone, ends=True)}


AskedPeriod = Annotated[PeriodForm, Depends()]


@router.get("/house")
async def house_overview(house: InHouse) -> Response:
    """Return the list of views, each with what it is for."""
    return house.page("overview")


@router.get("/house/retention")
async def house_retention(house: InHouse, save: SavedAs | None = None) -> Response:
    """Return the retention report as it is now."""
    resources, party = house.resources, house.caller.actor
    if save is not None:
        return saved(house, f"retention.{save}", await retention_answer(resources, party, _language(house, save)))
    content = retention_content(await retention_of(resources, party), resources.settings, house.words)
    return house.page("retention", template="report", page=content)


@router.get("/house/exposure")
async def house_exposure(asked: AskedPeriod, save: SavedAs | None = None) -> Response:
    """Return the form for a period, with the exposure report once a period is given."""
    house, period = asked.house, _period_or_error(asked)
    if save is not None and isinstance(period, Period):
        answer = exposure_answer(house.resources, house.caller.actor, period, _language(house, save))
        return saved(house, f"exposure.{save}", await answer)
    settings = house.resources.settings
    return await _period_page(
        asked, "exposure", period, report_exposure, lambda report: exposure_content(report, settings, house.words)
    )


@router.get("/house/deliveries")
async def house_deliveries(asked: AskedPeriod, save: SavedAs | None = None) -> Response:
    """Return the form for a period, with the delivery report once a period is given."""
    house, period = asked.house, _period_or_error(asked)
    if save is not None and isinstance(period, Period):
        answer = deliveries_answer(house.resources, house.caller.actor, period, _language(house, save))
        return saved(house, f"deliveries.{save}", await answer)
    return await _period_page(
        asked, "deliveries", period, report_deliveries, lambda report: deliveries_content(report, house.words)
    )


@asset_router.head("/house/assets/{name}")
@asset_router.get("/house/assets/{name}")
async def house_asset(request: Request, name: str, resources: CurrentResources) -> Response:
    """Return a style or image of the pages."""
    return asset_of(request, resources.settings, HOUSE, name)


def _language(house: InHouse, save: SavedAs) -> str | None:
    return house.language if save is SavedAs.HTML else None


def _period_or_error(asked: PeriodForm) -> Period | InvalidTime | None:
    try:
        return asked.period()
    except InvalidTime as refusal:
        return refusal


async def _period_page(
    asked: PeriodForm,
    view: str,
    period: Period | InvalidTime | None,
    make: Callable[[Resources, Period], R],
    content: Callable[[R], Page],
) -> Response:
    """Return a view with the form for a period; with the report, or with what is wrong with the period."""
    house, page, wrong = asked.house, None, list[str]()
    if isinstance(period, Period):
        party = house.caller.actor
        page = content(await in_turn(house.resources, party, partial(make, house.resources, period)))
    elif period is not None:
        wrong = reasons(period, house.language)
    zone = house.resources.settings.zone
    status, fields = 400 if wrong else 200, asked.fields()
    return house.page(view, template="report", status=status, page=page, period=fields, zone=zone, wrong=wrong)
