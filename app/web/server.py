"""Uvicorn's HTTP/1.1 protocol with what it lacks: silent clients are let go, and a stream can be cut for good."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 30
"""How long a client may take over its first request's head. Between requests, keep-alive's own timeout counts; in a
body or an answer, `app.stream_watch`."""


ABORT = "caducee.abort"
"""In the scope: a function that drops the connection with whatever still waits to be sent."""


class PromptProtocol(H11Protocol):
    """Closes a connection on which no request has begun in time (slowloris); offers `ABORT` to the application."""

    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Put the application behind a layer that adds `ABORT`."""
        super().__init__(*args, **kwargs)
        application = self.app

        async def with_abort(scope: Any, receive: Any, send: Any) -> None:
            scope[ABORT] = self.transport.abort
            await application(scope, receive, send)

        self.app = with_abort

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to count."""
        super().connection_made(transport)
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        if getattr(self, "cycle", None) is None:  # no request has begun on this connection
            self.transport.close()
