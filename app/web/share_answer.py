"""The response with an issued share: JSON, or text for people (`app.web.share_text`)."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.actions.issue_share import IssuedShare
from app.crypto.encoding import encode
from app.runtime.settings import Settings
from app.web.guard import resources_of
from app.web.negotiation import wants_text
from app.web.pages.catalogues import language_of
from app.web.schemas import ShareCreated
from app.web.share_text import SharedFiles, share_text


def link_of(settings: Settings, share: IssuedShare) -> str:
    """Return the link. Its secret is in the fragment, which no client sends to a server."""
    return f"{page_of(settings, share.id)}#{encode(share.link_secret)}"


def page_of(settings: Settings, share_id: str) -> str:
    """Return the address of the recipient's page, without any secret."""
    return f"{settings.recipients_origin}/s/{share_id}"


def share_answer(request: Request, answer: ShareCreated, files: SharedFiles) -> Response:
    """Return the share in the format that the client requests (`Accept`, `Accept-Language`)."""
    if not wants_text(request.headers.get("accept")):
        return JSONResponse(answer.model_dump(mode="json", exclude_none=True), 201)
    language = language_of(request.headers.get("accept-language"))
    text = share_text(answer, files, settings=resources_of(request).settings, language=language)
    return PlainTextResponse(text, 201, headers={"Content-Language": language})
