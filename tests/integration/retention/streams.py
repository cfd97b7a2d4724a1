"""A download and an upload whose other side stalls: something happens meanwhile, and the service must cut them."""

import asyncio
from collections.abc import AsyncIterator, Callable

from app.actions.claim_share import Claimed
from app.actions.create_transfer import CreatedTransfer
from app.domain.access_token import Caller
from app.runtime.resources import Resources
from app.runtime.stream_watch import watched
from tests.integration.actions.stories import (
    CONTENT,
    deposit,
    open_claim,
)

PATIENCE_SECONDS = 20


async def stalled_download(resources: Resources, claimed: Claimed, meanwhile: Callable[[], object]) -> None:
    """Fetch a first piece, have something happen, and read no further. Raises what cut the stream."""
    files = await open_claim(resources, claimed)
    file = files.files[0]
    async with files.plaintext(file, 0, file.size) as download, watched(download.check, idle_seconds=60):
        async for _ in download:
            await asyncio.to_thread(meanwhile)
            await asyncio.sleep(PATIENCE_SECONDS)
    raise AssertionError("the download was not cut")


async def stalled_upload(
    resources: Resources, caller: Caller, transfer: CreatedTransfer, meanwhile: Callable[[], object]
) -> None:
    """Send a first piece, have something happen, and send no more. Raises what cut the stream."""

    async def body() -> AsyncIterator[bytes]:
        yield CONTENT
        await asyncio.to_thread(meanwhile)
        await asyncio.sleep(PATIENCE_SECONDS)

    await deposit(resources, caller, transfer, body())
    raise AssertionError("the upload was not cut")
