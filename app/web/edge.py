"""The outermost ASGI middleware: the host check, security headers on every response, and one log line per request."""

from __future__ import annotations

import time
from collections.abc import Mapping

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.audience import Audience
from app.domain.errors import HostNotAllowed, InternalError
from app.domain.network_address import parse_host
from app.runtime.settings import Settings
from app.web.operator_routes import PROBES
from app.web.problems import problem

log = structlog.get_logger()

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Set on every response unless the route set its own. Uploaded content is never rendered: sandboxed, never sniffed."""

HSTS = "max-age=63072000; includeSubDomains"


class KnownHosts:
    """Refuses requests for unknown hosts, so that no link works under another host. With two origins, passes each
    request to the application of its host, so that the recipients' host serves no staff route, and vice versa.
    """

    def __init__(self, app: ASGIApp, served: Mapping[str, ASGIApp | None]) -> None:
        """`served` maps each origin to its application; None is `app`."""
        self._app = app
        self._served = {_host_and_port(origin): application for origin, application in served.items()}
        self._schemes = {origin.partition("://")[0] for origin in served}
        self._known = " or ".join(sorted(origin.partition("://")[2] for origin in served))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse other hosts. Probes are exempt, because they are sent to an IP address."""
        app: ASGIApp | None = None
        if scope["type"] == "http" and scope["path"] not in PROBES:
            known = self._find([value for name, value in scope["headers"] if name == b"host"])
            if known is None:
                app = problem(HostNotAllowed(f"This service is configured only for {self._known}."))
            else:
                app = self._served[known]
        await (app or self._app)(scope, receive, send)

    def _find(self, hosts: list[bytes]) -> tuple[str, int] | None:
        """Return the served host that the only `Host` header names. Without a port it is the default of an origin's
        scheme (RFC 9110, 7.2): the request does not state the scheme that the client used.
        """
        if len(hosts) == 1:
            for scheme in self._schemes:
                named = parse_host(hosts[0].decode("latin-1"), scheme=scheme)
                if named in self._served:
                    return named
        return None


def origins_by_audience(audience: Audience, settings: Settings) -> dict[Audience, str]:
    """Return the origins that a process serves, each with its routes: all routes on one origin, or, with two origins,
    the staff's and the recipients' routes apart.
    """
    staff, recipients = settings.staff_origin, settings.recipients_origin
    origins = {Audience.STAFF: staff, Audience.RECIPIENT: recipients}
    if audience != Audience.ALL:
        return {audience: origins[audience]}
    return origins if _host_and_port(staff) != _host_and_port(recipients) else {Audience.ALL: staff}


def _host_and_port(origin: str) -> tuple[str, int]:
    scheme, _, authority = origin.partition("://")
    host = parse_host(authority, scheme=scheme)
    if host is None:  # the settings hold origins only
        raise ValueError("not an origin")
    return host


class SafeHeaders:
    """Sets HEADERS, and HSTS if the public origin uses TLS, where a route has not set its own."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Choose the headers once."""
        self._app = app
        self._headers = dict(HEADERS)
        if settings.recipients_origin.startswith("https://"):
            self._headers["Strict-Transport-Security"] = HSTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the start of the response."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class RequestLog:
    """Logs one line per request: method, route template (never the path: it may contain a file name), status, ms."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is the next layer."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log after the response. An exception is logged by type and place only: its text may contain anything."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        status, started = 0, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - otherwise the server would print a traceback
            log.error("request_failed", error=type(error).__name__, place=_place(error), alert=True)
            if status == 0:
                await problem(InternalError())(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", None)
            elapsed = round((time.perf_counter() - started) * 1000, 1)
            log.info("request", method=scope["method"], route=route, status=status, ms=elapsed)


def _place(error: BaseException) -> str:
    """Return the file and line where an error was raised, without its text or local variables."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "unknown"
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
