"""Liveness and readiness probes for operators. Exempt from the host check."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.actions.check_readiness import STILL_READY, check_readiness
from app.web.guard import CurrentResources, GuardedRoute
from app.web.schemas import Readiness

router = APIRouter(route_class=GuardedRoute, tags=["operate"])

PROBES = frozenset({"/livez", "/readyz"})


@router.head("/livez", include_in_schema=False)
@router.get("/livez")
async def livez() -> dict[str, bool]:
    """The process responds."""
    return {"alive": True}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
async def readyz(response: Response, resources: CurrentResources) -> Readiness:
    """The service accepts deposits; otherwise 503 with the reasons. `intake_off` alone is 200."""
    reasons = await resources.in_thread(check_readiness, resources)
    ready = STILL_READY.issuperset(reasons)
    response.status_code = 200 if ready else 503
    return Readiness(ready=ready, reasons=reasons)
