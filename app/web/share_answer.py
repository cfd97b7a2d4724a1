"""The response with an issued share: JSON, or two blocks of text, one to mail and one to read out by telephone."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.actions.issue_share import IssuedShare
from app.crypto.encoding import encode
from app.runtime.settings import Settings
from app.web.pages.catalogues import language_of, sentence
from app.web.schemas import ShareCreated

_LINES = ("share_mail", "share_link", "share_advice", "share_telephone", "share_password")


def wants_text(accept: str | None) -> bool:
    """Return whether the client requests plain text rather than JSON; only the first media type counts."""
    return (accept or "").split(",")[0].split(";")[0].strip().lower() == "text/plain"


def link_of(settings: Settings, share: IssuedShare) -> str:
    """Return the link. Its secret is in the fragment, which no client sends to a server."""
    return f"{page_of(settings, share.id)}#{encode(share.link_secret)}"


def page_of(settings: Settings, share_id: str) -> str:
    """Return the address of the recipient's page, without any secret."""
    return f"{settings.recipients_origin}/s/{share_id}"


def share_answer(request: Request, answer: ShareCreated) -> Response:
    """Return the share in the format that the client requests (`Accept`, `Accept-Language`)."""
    if not wants_text(request.headers.get("accept")):
        return JSONResponse(answer.model_dump(mode="json", exclude_none=True), 201)
    language = language_of(request.headers.get("accept-language"))
    return PlainTextResponse(_share_text(answer, language), 201, headers={"Content-Language": language})


def _share_text(answer: ShareCreated, language: str) -> str:
    expiry: datetime = answer.expires_at
    values = {
        "expiry": expiry.strftime(sentence(language, "share_expiry")),
        "link": answer.link,
        "password": answer.password,
    }
    return "".join(f"{sentence(language, key)}\n".format(**values) for key in _LINES)
