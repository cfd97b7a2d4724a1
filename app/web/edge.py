"""The outermost layers, plain ASGI: which hosts we answer to, the headers on every answer, one log line per request."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import HostNotAllowed, InternalError
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
"""On every answer unless the route set its own. Uploaded content is never rendered: sandboxed, never sniffed."""

HSTS = "max-age=63072000; includeSubDomains"


class KnownHosts:
    """Answers only under the hosts of the configured origins, so that no link is made or followed under another."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Read the hosts once."""
        self._app = app
        self._hosts = {_host(settings.recipients_origin), _host(settings.staff_origin)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse other hosts; probes come by address and are exempt."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or hosts[0].decode("latin-1").lower() not in self._hosts:
                known = " or ".join(sorted(self._hosts))
                await problem(HostNotAllowed(f"This service answers as {known} only."))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _host(origin: str) -> str:
    """The origin's host as clients send it: without the scheme's own port (RFC 9110, 7.2)."""
    url = urlsplit(origin)
    default = {"http": ":80", "https": ":443"}[url.scheme]
    return url.netloc.lower().removesuffix(default)


class SafeHeaders:
    """Sets the headers above where a route has not set its own."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """HSTS only where the public origin has TLS."""
        self._app = app
        self._headers = dict(HEADERS)
        if settings.recipients_origin.startswith("https://"):
            self._headers["Strict-Transport-Security"] = HSTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add to the start of the answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class RequestLog:
    """One line per request: method, the route's template (never the path: it may hold a file name), status, time."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Log once the answer is out. A failure is logged by kind and place; its text may hold anything."""
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
        except Exception as error:  # noqa: BLE001 - the last place before the server would print a traceback
            log.error("request_failed", error=type(error).__name__, place=_place(error), alert=True)
            if status == 0:
                await problem(InternalError())(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", None)
            elapsed = round((time.perf_counter() - started) * 1000, 1)
            log.info("request", method=scope["method"], route=route, status=status, ms=elapsed)


def _place(error: BaseException) -> str:
    """File and line where an error arose, without its text or local variables."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "unknown"
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
