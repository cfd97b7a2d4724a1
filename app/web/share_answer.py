"""Responses with a share: issued, as JSON or as text for people (`app.web.share_text`); prepared; or ended."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.actions.issue_share import IssuedShare
from app.crypto.encoding import encode
from app.runtime.settings import Settings
from app.web.guard import resources_of
from app.web.negotiation import wants_representation, wants_text
from app.web.pages.catalogues import language_of
from app.web.schemas import EndingResult, ShareCreated, SharePrepared
from app.web.share_text import SharedFiles, mail_text, share_text


def link_of(settings: Settings, share: IssuedShare) -> str:
    """Return the link. Its secret is in the fragment, which no client sends to a server."""
    return f"{page_of(settings, share.id)}#{encode(share.link_secret)}"


def page_of(settings: Settings, share_id: str) -> str:
    """Return the address of the recipient's page, without any secret."""
    return f"{settings.recipients_origin}/s/{share_id}"


def share_answer(request: Request, answer: ShareCreated, files: SharedFiles) -> Response:
    """Return the share in the format that the client requests (`Accept`, `Accept-Language`)."""
    if not wants_text(request.headers.get("accept")):
        mail = _mail(request, answer.link, answer.expires_at, files)
        return JSONResponse(answer.model_copy(update={"mail": mail}).model_dump(mode="json", exclude_none=True), 201)
    language = language_of(request.headers.get("accept-language"))
    text = share_text(answer, files, settings=resources_of(request).settings, language=language)
    return PlainTextResponse(text, 201, headers={"Content-Language": language})


def prepared_answer(request: Request, answer: SharePrepared, files: SharedFiles) -> Response:
    """Return a prepared share: always JSON, because its link does not exist here."""
    mail = _mail(request, answer.page, answer.expires_at, files)
    return JSONResponse(answer.model_copy(update={"mail": mail}).model_dump(mode="json", exclude_none=True), 201)


def ended_answer(request: Request, ended: EndingResult) -> Response:
    """Return what became of a transfer or share, if the client asks for it or its keys were not destroyed yet."""
    shown = wants_representation(request.headers.getlist("prefer"))
    if ended.keys_destroyed and not shown:
        return Response(status_code=204)
    return JSONResponse(ended.model_dump(), 200 if ended.keys_destroyed else 202)


def _mail(request: Request, link: str, expires_at: datetime, files: SharedFiles) -> str | None:
    """Return the text to mail in the language that the client asks for; None if it asks for none."""
    asked = request.headers.get("accept-language")
    if asked is None:
        return None
    settings = resources_of(request).settings
    return mail_text(link, expires_at, files, settings=settings, language=language_of(asked))
