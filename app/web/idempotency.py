"""`Idempotency-Key`: identify a repeated request, and build the reply that replaces a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

from fastapi import Request

from app.domain.access_token import Caller
from app.domain.errors import ClientTooSlow, InvalidRequest
from app.domain.idempotency import DIGESTED_BYTES, IdempotentRequest, RequestContent, checked_key, identify
from app.lifecycle.repetition import attempted
from app.lifecycle.reply import Reply
from app.web.bodies import announced_length, chained
from app.web.guard import reply_of, resources_of


@asynccontextmanager
async def idempotent(
    request: Request, caller: Caller, *, transfer_id: str | None = None, body_digest: bytes | None = None
) -> AsyncIterator[Reply]:
    """Provide the reply of a request, which holds its idempotency key, if it has one, while the block runs.

    `body_digest` (SHA-256) is that of a raw body, as `digested` returns it; a JSON body is digested here. Raises
    InvalidRequest, IdempotencyKeyReused, IdempotencyInProgress, AlreadyAnswered.
    """
    key, reply = key_of(request), reply_of(request)
    if key is None:
        yield reply
        return
    if request.method == "POST":
        body_digest = sha256(await request.body()).digest()
    identified = _identified(request, caller, key, transfer_id, body_digest)
    async with attempted(resources_of(request), identified) as attempt:
        yield Reply(reply.is_gone, attempt)


def key_of(request: Request) -> str | None:
    """Return the request's idempotency key, or None. Raises InvalidRequest."""
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise InvalidRequest("Idempotency-Key: given twice.")
    return checked_key(keys[0]) if keys else None


def _identified(
    request: Request, caller: Caller, key: str, transfer_id: str | None, body_digest: bytes | None
) -> IdempotentRequest:
    content = RequestContent(
        method=request.method,
        path=request.scope["raw_path"],
        query=request.scope["query_string"],
        length=announced_length(request),
        body_digest=body_digest,
    )
    return identify(key, content, owner=caller.owner, route=request.scope["route"].name, transfer_id=transfer_id)


async def digested(request: Request, body: AsyncIterator[bytes]) -> tuple[bytes | None, AsyncIterator[bytes]]:
    """Read ahead in a request with an idempotency key. Return the SHA-256 of a body of at most DIGESTED_BYTES, None for
    a longer one; and the whole body again. Raises ClientTooSlow, and what the body raises.
    """
    if "idempotency-key" not in request.headers or (announced_length(request) or 0) > DIGESTED_BYTES:
        return None, body
    pieces, held = list[bytes](), 0
    try:
        async with asyncio.timeout(resources_of(request).settings.idle_timeout.total_seconds()):
            async for piece in body:
                pieces.append(piece)
                held += len(piece)
                if held > DIGESTED_BYTES:
                    return None, chained(pieces, body)
    except TimeoutError:
        raise ClientTooSlow from None
    return sha256(b"".join(pieces)).digest(), chained(pieces, body)
