"""Converts refusals to RFC 9457 problem documents and chooses their status. `docs/problems.md` lists them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from app.db.errors import ChangeUndone, DatabaseUnavailable
from app.domain import errors
from app.domain.errors import Refusal
from app.lifecycle.transfer_entries import LogUnreadable
from app.storage.errors import StorageError
from app.web.methods import method_refusal
from app.web.negotiation import wants_text
from app.web.pages.catalogues import DEFAULT_LANGUAGE, language_of
from app.web.problem_text import problem_document, problem_text

log = structlog.get_logger()

STATUS: dict[type[Refusal], int] = {
    errors.InvalidRequest: 400,
    errors.UnknownQueryParameter: 400,
    errors.InvalidDuration: 400,
    errors.InvalidTime: 400,
    errors.LifetimeOutOfRange: 400,
    errors.InvalidFileName: 400,
    errors.InvalidFilePath: 400,
    errors.EmptyBody: 400,
    errors.PartialBodyRefused: 400,
    errors.UnsupportedMediaType: 415,
    errors.ContentEncodingRefused: 415,
    errors.ConfirmationRequired: 400,
    errors.MalformedPassword: 400,
    errors.ClientKeyRequired: 400,
    errors.BodyIncomplete: 400,
    errors.ClientGone: 400,
    errors.MalformedCiphertext: 400,
    errors.ClientTooSlow: 408,
    errors.RangeNotSatisfiable: 416,
    errors.TooLarge: 413,
    errors.NotAuthenticated: 401,
    errors.LinkCredentialsRequired: 401,
    errors.SessionEnded: 401,
    errors.SessionTokenRequired: 403,
    errors.SignInNotOffered: 403,
    errors.TokenSignInNotOffered: 403,
    errors.SignInExpired: 400,
    errors.SignInRefused: 403,
    errors.RoleMissing: 403,
    errors.TwoRoles: 403,
    errors.TeamUnclear: 403,
    errors.AuthenticationTooWeak: 403,
    errors.LogoutTokenRefused: 400,
    errors.NotAllowed: 403,
    errors.CrossSiteRequest: 403,
    errors.OwnerTaken: 409,
    errors.OnlyByCommand: 403,
    errors.WrongClientKey: 403,
    errors.WrongPassword: 401,
    errors.HostNotAllowed: 400,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.TransferNotFound: 404,
    errors.TokenNotFound: 404,
    errors.SessionNotFound: 404,
    errors.ShareNotFound: 404,
    errors.ClaimNotFound: 404,
    errors.FileNotFound: 404,
    errors.CheckpointNotFound: 404,
    errors.ShareUsed: 410,
    errors.ShareWithdrawn: 410,
    errors.ShareExpired: 410,
    errors.ShareLocked: 410,
    errors.ClaimEnded: 410,
    errors.ClaimExhausted: 410,
    errors.TransferEnded: 410,
    errors.UploadNotFound: 404,
    errors.UploadInProgress: 423,
    errors.WrongOffset: 409,
    errors.ChecksumMismatch: 460,
    errors.TusVersionUnsupported: 412,
    errors.TransferClosed: 409,
    errors.TransferEmpty: 409,
    errors.UploadUnfinished: 409,
    errors.TransferIsSealed: 409,
    errors.TransferNotSealed: 409,
    errors.WrongFileNumber: 409,
    errors.TooManyFiles: 409,
    errors.TooManyShares: 409,
    errors.KeyAlreadySet: 409,
    errors.AlreadyAnswered: 409,
    errors.IdempotencyKeyReused: 422,
    errors.OwnerKeyMissing: 409,
    errors.ClaimedByProof: 409,
    errors.NotDeletedYet: 409,
    errors.ReceiptNotSigned: 409,
    errors.ReceiptPruned: 410,
    errors.DeletionContradicted: 409,
    errors.LogAltered: 409,
    errors.ProviderOutOfReach: 503,
    errors.ProviderAnswerUnusable: 502,
    errors.RetentionNotAssured: 503,
    errors.ClockNotTrusted: 503,
    errors.RestoreNotAccepted: 503,
    errors.VaultNotTrusted: 503,
    errors.LockedDown: 503,
    errors.IntakeOff: 503,
    errors.VaultOutOfReach: 503,
    errors.BlobsOutOfReach: 503,
    errors.DatabaseOutOfReach: 503,
    errors.ChangeNotConfirmed: 503,
    errors.DiskNearlyFull: 507,
    errors.Busy: 503,
    errors.IdempotencyInProgress: 503,
    errors.InternalError: 500,
}

_HEADERS: dict[type[Refusal], dict[str, str]] = {
    errors.NotAuthenticated: {"WWW-Authenticate": 'Bearer realm="caducee"'},
    errors.SessionEnded: {"WWW-Authenticate": 'Bearer realm="caducee"'},
    # Not Basic, although `content` accepts it: browsers would open their own dialog over the recipient's page.
    errors.WrongPassword: {"WWW-Authenticate": 'Caducee realm="link and password"'},
    errors.ContentEncodingRefused: {"Accept-Encoding": "identity"},  # RFC 9110, 15.5.16
    errors.Busy: {"Retry-After": "2"},
    errors.IdempotencyInProgress: {"Retry-After": "5"},
    errors.UploadInProgress: {"Retry-After": "5"},
    errors.TusVersionUnsupported: {"Tus-Version": "1.0.0"},
    errors.ReceiptNotSigned: {"Retry-After": "10"},
    errors.ProviderOutOfReach: {"Retry-After": "10"},
    errors.RetentionNotAssured: {"Retry-After": "60"},
    errors.VaultOutOfReach: {"Retry-After": "10"},
    errors.BlobsOutOfReach: {"Retry-After": "10"},
    errors.DatabaseOutOfReach: {"Retry-After": "10"},
}


def problem(refusal: Refusal, *, headers: dict[str, str] | None = None) -> ProblemResponse:
    """Return the refusal as a problem document, or as the text that the client prefers."""
    return ProblemResponse(refusal, {**headers_of(refusal), **(headers or {})})


class ProblemResponse(JSONResponse):
    """A refusal: an `application/problem+json` document, or plain text if the request prefers it, in its language."""

    media_type = "application/problem+json"

    def __init__(self, refusal: Refusal, headers: dict[str, str]) -> None:
        """`headers` are those of this refusal."""
        status = STATUS[type(refusal)]
        super().__init__(problem_document(refusal, status, DEFAULT_LANGUAGE), status, headers=headers)
        self._refusal, self._own_headers = refusal, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the form that the request prefers."""
        await self.preferred(Headers(raw=scope.get("headers", [])))(scope, receive, send)

    def preferred(self, asked: Mapping[str, str]) -> Response:
        """Return the form that a request with these headers prefers."""
        language = language_of(asked.get("accept-language"))
        headers = {**self._own_headers, "Content-Language": language}
        if wants_text(asked.get("accept")):
            return PlainTextResponse(problem_text(self._refusal, language), self.status_code, headers=headers)
        document = problem_document(self._refusal, self.status_code, language)
        return JSONResponse(document, self.status_code, headers=headers, media_type=self.media_type)


def headers_of(refusal: Refusal) -> dict[str, str]:
    """Return the headers of a refusal, whatever its form: when to try again, how to authenticate."""
    if isinstance(refusal, errors.RangeNotSatisfiable):  # RFC 9110, 14.4: the complete length
        return {"Content-Range": f"bytes */{refusal.size}"}
    return _HEADERS.get(type(refusal), {})


FAILURES = (DatabaseUnavailable, ChangeUndone, StorageError, LogUnreadable)
"""Errors of the layers below that `refusal_for` explains to a client."""


def refusal_for(error: Exception) -> Refusal:
    """Return the refusal for an exception, and log internal failures; a Refusal is returned unchanged."""
    match error:
        case Refusal():
            return error
        case DatabaseUnavailable():
            log.error("database_unavailable", detail=str(error), alert=True)
            return errors.DatabaseOutOfReach()
        case ChangeUndone():
            log.error("change_not_confirmed", detail=str(error), alert=True)
            return errors.ChangeNotConfirmed()
        case LogUnreadable():
            log.error("log_altered", entry=error.entry, alert=True)
            return errors.LogAltered()
        case StorageError():
            log.error("storage_unavailable", error=type(error).__name__, alert=True)
            return errors.BlobsOutOfReach()
        case _:
            log.error("request_failed", error=type(error).__name__, alert=True)
            return errors.InternalError()


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Register handlers that return problems; none echoes client input. `routes` are those of the application.
    Unexpected exceptions: `app.web.edge`.
    """

    async def method_refused(request: Request, _error: Exception) -> Response:
        refusal, allowed = method_refusal(routes, request.scope)
        return problem(refusal, headers={"Allow": allowed})

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(405, method_refused)
    for failure in FAILURES:
        app.add_exception_handler(failure, _failed)
    app.add_exception_handler(ClientDisconnect, _gone)


async def _refused(request: Request, refusal: Exception) -> Response:
    if not isinstance(refusal, Refusal):
        raise TypeError
    if isinstance(refusal, errors.ShareNotFound) and not hasattr(request.state, "caller"):
        request.app.state.resources.refused_links.add()
    return problem(refusal)


async def _invalid(_request: Request, error: Exception) -> Response:
    """Report the location and type of invalid input, never its value: it may be a password."""
    if not isinstance(error, RequestValidationError):
        raise TypeError
    said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors()[:5])
    return problem(errors.InvalidRequest(said))


_HTTP: dict[int, type[Refusal]] = {404: errors.NotFound, 413: errors.TooLarge}


async def _http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError
    return problem(_HTTP.get(error.status_code, errors.InvalidRequest)())


async def _failed(_request: Request, error: Exception) -> Response:
    return problem(refusal_for(error))


async def _gone(_request: Request, _error: Exception) -> Response:
    """Respond although the client has disconnected; nobody reads the response."""
    return problem(errors.BodyIncomplete())
