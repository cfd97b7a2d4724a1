"""The answer to whoever issued a share: JSON, or two blocks to paste, one to mail and one to tell by telephone."""

from __future__ import annotations

from datetime import datetime

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.actions.issue_share import IssuedShare
from app.crypto.encoding import encode
from app.runtime.settings import Settings
from app.web.schemas import ShareCreated

_TEXTS = {
    "fr": (
        "--- À envoyer par courriel ---\n"
        "Des fichiers vous attendent. Le lien ne fonctionne qu'une fois, jusqu'au {expiry} (UTC) :\n{link}\n"
        "Ouvrez-le sur l'appareil où vous en avez besoin. Le mot de passe vous sera communiqué par téléphone.\n\n"
        "--- À dire par téléphone ---\n{password}\n"
    ),
    "en": (
        "--- Send this by mail ---\n"
        "Files are waiting for you. The link works once, until {expiry} (UTC):\n{link}\n"
        "Open it on the device where you need them. You will be told the password by telephone.\n\n"
        "--- Tell this by telephone ---\n{password}\n"
    ),
}


def wants_text(accept: str | None) -> bool:
    """Whether the client asks for plain text rather than JSON."""
    return (accept or "").split(",")[0].split(";")[0].strip().lower() == "text/plain"


def language_of(accept_language: str | None) -> str:
    """`fr` or `en`, whichever the reader prefers (RFC 9110, 12.5.4); English when neither is asked for."""
    best, best_weight = "en", 0.0
    for part in (accept_language or "").split(",")[:20]:
        tag, _, parameter = part.strip().partition(";")
        try:
            weight = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        primary = tag.strip().lower().split("-")[0]
        if primary in _TEXTS and weight > best_weight:
            best, best_weight = primary, weight
    return best


def link_of(settings: Settings, share: IssuedShare) -> str:
    """The link: the secret stands in the fragment, which no client sends."""
    return f"{page_of(settings, share.id)}#{encode(share.link_secret)}"


def page_of(settings: Settings, share_id: str) -> str:
    """The address of the recipient's page, without any secret."""
    return f"{settings.recipients_origin}/s/{share_id}"


def share_answer(request: Request, answer: ShareCreated) -> Response:
    """The share in the form the client asks for (`Accept`, `Accept-Language`)."""
    if not wants_text(request.headers.get("accept")):
        return JSONResponse(answer.model_dump(mode="json", exclude_none=True), 201)
    language = language_of(request.headers.get("accept-language"))
    return PlainTextResponse(_share_text(answer, language), 201, headers={"Content-Language": language})


def _share_text(answer: ShareCreated, language: str) -> str:
    expiry: datetime = answer.expires_at
    written = expiry.strftime("%d/%m/%Y %H:%M" if language == "fr" else "%Y-%m-%d %H:%M")
    return _TEXTS[language].format(link=answer.link, password=answer.password, expiry=written)
