"""The auditor's reports as responses: JSON for programs, or a page in one language.

Reports read much data. Each process creates one at a time, a few requests wait, and further ones are refused, so that
reports do not slow deposits down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import structlog
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.actions.authenticate import check_long_answer
from app.actions.export_log import export_log
from app.actions.prove_consistency import prove_consistency
from app.actions.reconcile import count_orphans
from app.actions.report_deliveries import report_deliveries
from app.actions.report_exposure import report_exposure
from app.actions.report_retention import RetentionReport, report_retention
from app.domain.access_token import Caller
from app.domain.document import document
from app.domain.errors import CheckpointNotFound, NotAuthenticated, SessionEnded
from app.domain.period import Period
from app.reports.deliveries import deliveries_page
from app.reports.exposure import exposure_page
from app.reports.log_pages import checkpoint_page, consistency_page
from app.reports.retention import retention_page
from app.runtime.installation import InstallationMismatch
from app.runtime.resources import Resources
from app.runtime.settings import Settings
from app.storage.errors import StorageError
from app.storage.signing_folder import SigningFolder
from app.web.peer import peer_of
from app.web.report_pages import page_response

R = TypeVar("R")

log = structlog.get_logger()

LINES = 500
"""Lines of an export that are sent at a time."""


async def retention_answer(resources: Resources, party: str, language: str | None) -> Response:
    """Return the retention report as a response."""
    report = await retention_of(resources, party)
    if language is None:
        return JSONResponse({**document(report), "exit_code": report.exit_code})
    return page_response(retention_page(report, resources.settings, language), language)


async def retention_of(resources: Resources, party: str) -> RetentionReport:
    """Return the retention report."""
    return await in_turn(resources, party, partial(_retention, resources))


async def in_turn(resources: Resources, party: str, make: Callable[[], R]) -> R:
    """Return what `make` reads, in a thread; one party's reports take turns with others'. Raises Busy."""
    async with resources.reporting.turn(party):
        return await resources.in_thread(make)


def _retention(resources: Resources) -> RetentionReport:
    return report_retention(resources, orphans=_orphans(resources))


def _orphans(resources: Resources) -> int | None:
    """Count orphans now, as the command does: an old count would prove nothing. None if a store cannot be read."""
    try:
        return sum(result.orphans for result in count_orphans(resources))
    except (StorageError, InstallationMismatch):
        return None


async def exposure_answer(resources: Resources, party: str, period: Period, language: str | None) -> Response:
    """Return the exposure report."""
    report = partial(report_exposure, resources, period)
    return await _period_answer(resources, party, report, exposure_page, language)


async def deliveries_answer(resources: Resources, party: str, period: Period, language: str | None) -> Response:
    """Return the delivery report."""
    report = partial(report_deliveries, resources, period)
    return await _period_answer(resources, party, report, deliveries_page, language)


async def _period_answer(
    resources: Resources,
    party: str,
    make: Callable[[], R],
    page: Callable[[R, Settings, str], str],
    language: str | None,
) -> Response:
    """Return a report as JSON, or as a page in `language`; one party's reports take turns with others'."""
    async with resources.reporting.turn(party):
        report = await resources.in_thread(make)
        if language is None:
            return JSONResponse(await resources.in_thread(document, report))
    return page_response(page(report, resources.settings, language), language)


async def checkpoint_answer(resources: Resources, language: str | None, *, as_text: bool = False) -> Response:
    """Return the last signed checkpoint and the log's public key; as text, only the signed note. Raises
    CheckpointNotFound.
    """
    note, key = await checkpoint_of(resources)
    if language is not None:
        return page_response(checkpoint_page(note, key, resources.settings, language), language)
    return PlainTextResponse(note) if as_text else JSONResponse({"note": note, "public_key": key})


async def checkpoint_of(resources: Resources) -> tuple[str, str]:
    """Return the last signed checkpoint and the log's public key. Raises CheckpointNotFound."""
    note, key = await resources.in_thread(_signed, SigningFolder(resources.settings.signing_dir))
    if note is None or key is None:
        raise CheckpointNotFound
    return note, key


def _signed(signing: SigningFolder) -> tuple[str | None, str | None]:
    return signing.last_checkpoint(), signing.verifier_key()


async def consistency_answer(resources: Resources, kept: str, language: str | None) -> Response:
    """Return whether the log only grew since a kept checkpoint, with the proof."""
    found = await resources.in_thread(prove_consistency, resources, kept)
    if language is not None:
        page = consistency_page(found, resources.settings, language, at=resources.clock.now())
        return page_response(page, language)
    shown: dict[str, Any] = {**document(found), "verified": found.verified}
    return JSONResponse(shown)


def export_answer(resources: Resources, caller: Caller) -> Response:
    """Return the log as JSON lines, read and sent in pages, as long as the caller's credential is valid."""
    lines = export_log(resources, SigningFolder(resources.settings.signing_dir))
    return _Export(_chunks(resources, caller, lines), stall_seconds=resources.settings.stall_timeout.total_seconds())


async def _chunks(resources: Resources, caller: Caller, lines: Iterator[str]) -> AsyncIterator[bytes]:
    while chunk := await resources.in_thread(_chunk, resources, caller, lines):
        yield chunk


def _chunk(resources: Resources, caller: Caller, lines: Iterator[str]) -> bytes:
    check_long_answer(resources, caller)
    return "".join(f"{line}\n" for line in islice(lines, LINES)).encode()


class _Export(StreamingResponse):
    """An attachment. It is cut when its client accepts nothing for too long, or when its caller's credential ends; an
    export without its last line is incomplete, which its reader notices.
    """

    def __init__(self, content: AsyncIterator[bytes], *, stall_seconds: float) -> None:
        headers = {"Content-Disposition": 'attachment; filename="caducee-log.jsonl"'}
        super().__init__(content, headers=headers, media_type="application/jsonl")
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Any) -> None:
            async with asyncio.timeout(self._stall_seconds):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except (NotAuthenticated, SessionEnded) as refusal:
            log.info("export_cut", code=refusal.code)
            peer_of(scope).abort()
            await asyncio.sleep(0)  # let the server notice
        except BaseException:
            peer_of(scope).abort()
            raise
