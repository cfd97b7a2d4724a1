"""The ASGI application: routes per audience, middleware, and resources."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Literal

import structlog
from fastapi import FastAPI

from app.actions.log_refused_links import log_refused_links
from app.db.errors import DatabaseUnavailable
from app.runtime.harden import harden_process
from app.runtime.installation import open_resources
from app.runtime.logs import set_up_logs
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.web import (
    audit_routes,
    claim_routes,
    operator_routes,
    page_routes,
    problems,
    sealed_routes,
    send_routes,
    share_routes,
    transfer_routes,
)
from app.web.edge import KnownHosts, RequestLog, SafeHeaders

Audience = Literal["all", "recipient", "staff"]

REFUSALS_SECONDS = 60

log = structlog.get_logger()

RECIPIENT_ROUTERS = (page_routes.router, share_routes.router, claim_routes.router)
STAFF_ROUTERS = (
    transfer_routes.upload_router,
    transfer_routes.router,
    send_routes.router,
    sealed_routes.router,
    audit_routes.router,
)


def create_app(audience: Audience = "all", *, settings: Settings, resources: Resources | None = None) -> FastAPI:
    """Build the application. Without `resources` it opens its own at startup, in the serving process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = app.state.resources = resources or open_resources(settings)
        _let_threads_run_anywhere()
        tasks = [asyncio.create_task(_log_refused_links(opened)), asyncio.create_task(_stop_without_parent())]
        yield
        for task in tasks:
            task.cancel()
        await opened.in_thread(log_refused_links, opened)
        if resources is None:
            opened.close()

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
    if audience in {"all", "staff"}:
        for router in STAFF_ROUTERS:
            app.include_router(router)
    if audience in {"all", "recipient"}:
        for router in RECIPIENT_ROUTERS:
            app.include_router(router)
    app.include_router(operator_routes.router)
    problems.install(app)
    app.add_middleware(KnownHosts, settings=settings)
    app.add_middleware(RequestLog)
    app.add_middleware(SafeHeaders, settings=settings)  # outermost: responses of RequestLog get them too
    return app


async def _log_refused_links(resources: Resources) -> None:
    while True:
        await asyncio.sleep(REFUSALS_SECONDS)
        try:
            await resources.in_thread(log_refused_links, resources)
        except DatabaseUnavailable as error:  # counted again in the next minute
            log.error("refusals_not_logged", detail=str(error), alert=True)


def _let_threads_run_anywhere() -> None:
    """Let the default executor's threads run on every processor that `serve` may use, even if `serve` pins the event
    loop to one (app/terminal/workers.py): Argon2 and the fsync of large files release the GIL.
    """
    parent = _serve_above()
    if parent is None or not hasattr(os, "sched_getaffinity"):
        return
    anywhere = os.sched_getaffinity(parent)

    def leave_the_processor() -> None:
        with suppress(OSError):  # where that is forbidden, so was the other
            os.sched_setaffinity(0, anywhere)

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(initializer=leave_the_processor))


def _serve_above() -> int | None:
    """Return the pid of `serve` if this is one of several workers, else None."""
    parent = int(os.environ.get("CADUCEE_SERVE_PID", "0"))
    return parent if parent and os.getpid() != parent else None


async def _stop_without_parent() -> None:
    """Exit a worker when its `serve` was killed: it would keep the port open with old code."""
    parent = _serve_above()
    while parent:
        await asyncio.sleep(1)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            return


def serve_app() -> FastAPI:
    """Application factory for uvicorn, called in each worker; the audience comes from the environment."""
    settings = Settings()
    set_up_logs(settings.log_format)
    harden_process()
    audience = os.environ.get("CADUCEE_SERVE_AUDIENCE", "all")
    if audience not in {"all", "recipient", "staff"}:
        raise ValueError("CADUCEE_SERVE_AUDIENCE: all, recipient or staff")
    return create_app(audience, settings=settings)  # type: ignore[arg-type]
