"""Short request bodies, JSON or text, which are read whole: within limits of size and time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from fastapi import Request
from starlette.types import Message, Receive

from app.domain.errors import ClientTooSlow, TooLarge
from app.web.limits import MAX_JSON_BYTES


def limited(receive: Receive) -> Receive:
    """Limit a JSON body to MAX_JSON_BYTES, whatever length was announced. Raises TooLarge."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_JSON_BYTES:
            raise _too_large()
        return message

    return receive_limited


def _too_large() -> TooLarge:
    return TooLarge("The body is larger than this route accepts.", max_bytes=MAX_JSON_BYTES)


async def read_body(request: Request, patience: timedelta) -> None:
    """Read a JSON body with a timeout; FastAPI then uses the cached body. Raises ClientTooSlow, TooLarge."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_JSON_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(patience.total_seconds()):
            await request.body()
    except TimeoutError:
        raise ClientTooSlow from None
