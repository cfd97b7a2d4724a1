"""Shares, for recipients: state, claim, and the `content` route. Recipients have no account."""

from __future__ import annotations

import base64
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from app.actions.claim_share import Claimed, claim_share
from app.actions.fetch_file import open_files
from app.actions.give_receipt import transfer_of_link
from app.actions.look_at_share import look_at_share
from app.crypto.encoding import decode, encode
from app.crypto.errors import CryptoError, MalformedSecret
from app.db.errors import DatabaseUnavailable
from app.domain.errors import InvalidRequest, LinkCredentialsRequired, Refusal, ShareNotFound
from app.domain.party import party_of
from app.lifecycle.claimable_share import LinkAndPassword
from app.lifecycle.reply import Reply
from app.storage.errors import StorageError
from app.web.content import archive_name, claim_header, content_response
from app.web.guard import CLAIM_COOKIE, ClientAddress, CurrentResources, GuardedRoute, reply_of
from app.web.problems import problem, refusal_for
from app.web.receipt_answer import receipt_answer
from app.web.report_pages import language_of_page
from app.web.schemas import MAX_SECRET_CHARS, ClaimAnswer, ClaimedFileShown, ClaimRequest, LookRequest, ShareStatus

BASIC_USER = "link"
SEALED_PREFIX = "sealed."
"""What stands before the secret in a sealed link."""

router = APIRouter(prefix="/api/v1/shares/{share_id}", route_class=GuardedRoute, tags=["receive"])


@router.post("/look", response_model_exclude_unset=True)
async def look(share_id: str, asked: LookRequest, resources: CurrentResources) -> ShareStatus:
    """Return the state of the link's share. Claims nothing."""
    seen = await resources.in_thread(look_at_share, resources, share_id, _secret(asked.link_proof))
    looked = ShareStatus(
        state=seen.state.value,
        label=seen.label,
        files=seen.files,
        size=seen.size,
        expires_at=seen.expires_at,
        sealed=seen.sealed,
        attempts_left=seen.attempts_left,
    )
    known = {"recipient": seen.recipient, "used_at": seen.used_at, "destroyed_at": seen.destroyed_at}
    return looked.model_copy(update={name: value for name, value in known.items() if value is not None})


@router.get("/receipt", response_class=PlainTextResponse)
async def share_receipt(
    request: Request, share_id: str, resources: CurrentResources, address: ClientAddress, lang: str | None = None
) -> Response:
    """Return the receipt of the deletion of the link's transfer; with `Accept: text/html`, the certificate."""
    proof = request.headers.get("caducee-link-proof")
    if proof is None or len(proof) > MAX_SECRET_CHARS:
        raise InvalidRequest(f"Caducee-Link-Proof: required, at most {MAX_SECRET_CHARS} characters.")
    transfer_id = await resources.in_thread(transfer_of_link, resources, share_id, _secret(proof))
    async with resources.reporting.turn(party_of(address)):  # a receipt searches the whole vault
        return await receipt_answer(resources, transfer_id, language=language_of_page(request, lang))


@router.post("/claim", response_model_exclude_none=True)
async def claim(
    request: Request,
    response: Response,
    share_id: str,
    asked: ClaimRequest,
    resources: CurrentResources,
    address: ClientAddress,
) -> ClaimAnswer:
    """Redeem the share. The same call with the same token of one's own answers the same again."""
    claimed = await claim_share(resources, share_id, _presented(asked, address, reply_of(request)))
    if asked.link_secret is not None:
        response.set_cookie(
            CLAIM_COOKIE,
            encode(claimed.token),
            path=f"/api/v1/claims/{claimed.claim_id}",
            expires=claimed.expires_at,
            secure=resources.settings.recipients_origin.startswith("https://"),
            httponly=True,
            samesite="strict",
        )
    return _answer(claimed, resources.settings.zone)


@router.post("/content")
async def content(share_id: str, request: Request, resources: CurrentResources, address: ClientAddress) -> Response:
    """Claim and stream in one request: a single file as it is, or a range of it; several files as a ZIP. With the same
    claim token the request can be repeated.
    """
    try:
        secret, password = _link_and_password(request)
    except LinkCredentialsRequired as refusal:
        return problem(refusal, headers=_challenge(request))
    token = _token(request.headers.get("caducee-claim-token"), "Caducee-Claim-Token")
    presented = LinkAndPassword.by_secret(_link_secret(secret), password, token, address, reply_of(request))
    claimed = await claim_share(resources, share_id, presented)
    try:
        files = await open_files(
            resources, claim_id=claimed.claim_id, token=claimed.token, numbers=None, decrypted=True, address=address
        )
        return content_response(files, claimed, request.headers)
    except (Refusal, DatabaseUnavailable, StorageError, CryptoError) as error:
        # The share is already used: without this header, the client could not resume with files/{n}.
        return problem(refusal_for(error), headers=claim_header(claimed))


def _challenge(request: Request) -> dict[str, str]:
    """Return the challenge that makes curl, wget and others send Basic credentials. A browser that navigates gets none:
    it would open a dialog of its own.
    """
    navigates = request.headers.get("sec-fetch-mode") == "navigate"
    return {} if navigates else {"WWW-Authenticate": 'Basic realm="Caducee"'}


def _secret(text: str) -> bytes:
    """Decode a link secret or proof (32 bytes). Raises ShareNotFound: a malformed one is treated as wrong."""
    try:
        return decode(text, length=32)
    except MalformedSecret:
        raise ShareNotFound from None


def _link_secret(text: str) -> bytes:
    """Decode a link secret, also with the prefix of a sealed link, as it stands after `#`. Raises ShareNotFound."""
    return _secret(text.removeprefix(SEALED_PREFIX))


def _token(text: str | None, field: str) -> bytes | None:
    """Decode a claim token that the client chose. Raises InvalidRequest."""
    try:
        return None if text is None else decode(text, length=32)
    except MalformedSecret:
        raise InvalidRequest(f"{field}: 32 bytes, base64url without padding.") from None


def _presented(asked: ClaimRequest, address: str, reply: Reply) -> LinkAndPassword:
    token = _token(asked.claim_token, "claim_token")
    if asked.link_secret is not None and asked.link_proof is None:
        return LinkAndPassword.by_secret(_link_secret(asked.link_secret), asked.password, token, address, reply)
    if asked.link_proof is not None and asked.link_secret is None:
        return LinkAndPassword(_secret(asked.link_proof), None, asked.password, token, address, reply)
    raise InvalidRequest("Give either link_secret or link_proof.")


def _link_and_password(request: Request) -> tuple[str, str]:
    """Return link secret and password from `Authorization: Basic` (RFC 7617). Both are in the Basic password, because
    proxies log the Basic user name. Raises LinkCredentialsRequired.
    """
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        user, _, both = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:  # not base64, not UTF-8, or not even ASCII
        raise LinkCredentialsRequired from None
    prefix = SEALED_PREFIX if both.startswith(SEALED_PREFIX) else ""
    secret, dot, password = both.removeprefix(prefix).partition(".")
    if scheme.lower() != "basic" or user != BASIC_USER or not dot:
        raise LinkCredentialsRequired
    return secret, password


def _answer(claimed: Claimed, zone: ZoneInfo) -> ClaimAnswer:
    files = [
        ClaimedFileShown(
            number=file.number,
            size=file.size,
            sealed_size=file.sealed_size,
            name=file.meta.name if file.meta else None,
            path=(file.meta.path or None) if file.meta else None,
            type=file.meta.media_type if file.meta else None,
            sealed_meta=None if file.meta else encode(file.sealed_meta),
        )
        for file in claimed.files
    ]
    return ClaimAnswer(
        claim_id=claimed.claim_id,
        claim_token=encode(claimed.token),
        transfer_id=claimed.transfer_id,
        expires_at=claimed.expires_at,
        files=files,
        archive=archive_name(claimed.files[0].created_at, zone) if len(files) > 1 else None,
        server_part=encode(claimed.server_part) if claimed.server_part else None,
        wrapped_key=encode(claimed.wrapped_key) if claimed.wrapped_key else None,
    )
