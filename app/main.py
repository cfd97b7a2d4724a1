"""The ASGI application: routes per audience, middleware, and resources."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Lifespan

from app.actions.log_fetches import log_fetches
from app.actions.log_refused_links import log_refused_links
from app.actions.log_refused_tokens import log_refused_tokens
from app.db.errors import DatabaseUnavailable
from app.domain.audience import Audience
from app.lifecycle.rollback import DatabaseRolledBack, require_not_rolled_back
from app.runtime.harden import harden_process
from app.runtime.installation import open_resources
from app.runtime.logs import set_up_logs
from app.runtime.resources import Resources
from app.runtime.separate_users import umask_of
from app.runtime.settings import Settings
from app.web import (
    admin_routes,
    audit_form_routes,
    audit_routes,
    claim_routes,
    house_credential_routes,
    house_log_routes,
    house_routes,
    house_service_routes,
    operator_routes,
    page_routes,
    problems,
    sealed_routes,
    send_routes,
    share_routes,
    sign_in_routes,
    staff_page,
    transfer_routes,
    upload_routes,
)
from app.web.edge import KnownHosts, RequestLog, SafeHeaders, origins_by_audience

REFUSALS_SECONDS, FETCHES_SECONDS = 60, 5

log = structlog.get_logger()

RECIPIENT_ROUTERS = (page_routes.router, share_routes.router, claim_routes.router)
STAFF_ROUTERS = (
    transfer_routes.upload_router,
    upload_routes.router,
    transfer_routes.router,
    send_routes.router,
    sealed_routes.router,
    audit_routes.router,
    audit_form_routes.router,
    admin_routes.router,
    sign_in_routes.router,
    staff_page.router,
    house_routes.router,
    house_log_routes.router,
    house_credential_routes.router,
    house_service_routes.router,
    house_routes.asset_router,
)


def create_app(audience: Audience = Audience.ALL, *, settings: Settings, resources: Resources | None = None) -> FastAPI:
    """Build the application. Without `resources` it opens its own at startup, in the serving process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = app.state.resources = resources or _open_unless_rolled_back(settings)
        tasks = [
            asyncio.create_task(_every(REFUSALS_SECONDS, log_refused_links, opened)),
            asyncio.create_task(_every(REFUSALS_SECONDS, log_refused_tokens, opened)),
            asyncio.create_task(_every(FETCHES_SECONDS, log_fetches, opened)),
            asyncio.create_task(_stop_without_parent()),
        ]
        yield
        for task in tasks:
            task.cancel()
        await opened.in_thread(log_refused_links, opened)
        await opened.in_thread(log_refused_tokens, opened)
        await opened.in_thread(log_fetches, opened, all_of_them=True)
        if resources is None:
            opened.close()

    origins = origins_by_audience(audience, settings)
    first, *others = origins
    app = _routes_of(first, lifespan=lifespan)
    served: dict[str, ASGIApp | None] = {origins[first]: None}
    for other in others:
        application = _routes_of(other)
        application.state = app.state
        served[origins[other]] = application
    app.add_middleware(KnownHosts, served=served)
    app.add_middleware(RequestLog)
    app.add_middleware(SafeHeaders, settings=settings)  # outermost: responses of RequestLog get them too
    return app


def _routes_of(audience: Audience, *, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Return an application with this audience's routes and the probes, without middleware."""
    app = FastAPI(
        title="Caducée",
        lifespan=lifespan,
        # Spans and metrics would contain the path, and a path may contain a patient's name.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    # Routes are matched in this order, so the busiest come first.
    staff = STAFF_ROUTERS if audience in {Audience.ALL, Audience.STAFF} else ()
    recipient = RECIPIENT_ROUTERS if audience in {Audience.ALL, Audience.RECIPIENT} else ()
    routers = (*staff, *recipient, operator_routes.router)
    for router in routers:
        app.include_router(router)
    problems.install(app, [route for router in routers for route in router.routes])
    return app


def _open_unless_rolled_back(settings: Settings) -> Resources:
    """Open the installation. `serve` has checked the same for the first workers; one that it starts in the place of a
    dead one may find a database that was restored meanwhile. Raises DatabaseRolledBack, which ends `serve`.
    """
    opened = open_resources(settings, create=False)
    try:
        require_not_rolled_back(opened)
    except DatabaseRolledBack as error:
        opened.close()
        log.error("database_rolled_back", detail=str(error), alert=True)
        raise
    return opened


async def _every(seconds: float, job: Callable[[Resources], int], resources: Resources) -> None:
    """Run a job that logs what was counted. Counts that cannot be logged are lost, loudly."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await resources.in_thread(job, resources)
        except DatabaseUnavailable as error:
            log.error("counts_not_logged", counts=job.__name__, detail=str(error), alert=True)


async def _stop_without_parent() -> None:
    """Exit a worker when its `serve` was killed: it would keep the port open with old code."""
    parent = int(os.environ.get("CADUCEE_SERVE_PID", "0"))
    while parent and os.getpid() != parent:  # a single worker is `serve` itself
        await asyncio.sleep(1)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def serve_app() -> FastAPI:
    """Application factory for uvicorn, called in each worker; the audience comes from the environment."""
    settings = Settings()
    set_up_logs(settings.log_format)
    harden_process(umask_of(settings))
    audience = Audience(os.environ.get("CADUCEE_SERVE_AUDIENCE", Audience.ALL))
    return create_app(audience, settings=settings)
