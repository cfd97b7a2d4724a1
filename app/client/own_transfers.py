"""The depositor's own transfers, later: issue another share, withdraw one, delete a transfer. An id is enough, because
this machine remembers the client keys of what was sent from it (`app/client/state.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from app.client.errors import NotConfigured, ServiceRefused
from app.client.http_calls import ask
from app.client.mail_text import mail_with_link
from app.client.sealed_transfer import SealedTransfer
from app.client.state import ClientState, SentTransfer
from app.client.unfinished import sweep
from app.crypto.encoding import decode, encode
from app.crypto.errors import CryptoError, MalformedSecret
from app.domain.errors import ClientKeyRequired, TransferEnded, WrongClientKey
from app.domain.transfer import OPEN_STATES


@dataclass(frozen=True, slots=True, repr=False)
class IssuedShare:
    """A share of either kind. Link and password are stored nowhere else; `mail` is a text to send with the link, if the
    service wrote one.
    """

    id: str
    link: str
    password: str
    expires_at: str
    mail: str | None


@dataclass(frozen=True, slots=True)
class EndingResult:
    """A share that was withdrawn or a transfer that was deleted, and whether the service saw its keys destroyed."""

    state: str
    keys_destroyed: bool


class OwnTransfers:
    """The transfers of the access token's owner on one service."""

    def __init__(self, http: httpx.Client, state: ClientState) -> None:
        """`http` has the service's URL and the access token."""
        self._http, self._state = http, state
        self._server = str(http.base_url).rstrip("/")

    def issue(
        self, transfer_id: str, recipient: str, *, language: str, ask_for_key: Callable[[], str | None]
    ) -> IssuedShare:
        """Issue a share, with a text to mail in a language. `ask_for_key` returns the client key that this machine does
        not remember, or None. The key of a sealed transfer never leaves this machine.

        Raises ServiceRefused; ClientKeyRequired without a key, WrongClientKey, NotConfigured for one that is malformed;
        TransferEnded if it was forgotten because its transfer ended.
        """
        sent = self._state.find(self._server, transfer_id)
        key = self._client_key(sent, ask_for_key)
        try:
            sealed = sent.sealed if sent else self._show(transfer_id)["sealed"]
            issue = self._issue_sealed if sealed else self._issue_unsealed
            return issue(transfer_id, recipient, key=key, language=language)
        except ServiceRefused as refusal:
            if refusal.code == TransferEnded.code:
                self._state.forget_key(transfer_id)
            raise

    def withdraw(self, share_id: str, *, reason: str | None = None) -> EndingResult:
        """Withdraw a share. One that has ended keeps its state. Raises ServiceRefused."""
        return self._end(f"/api/v1/shares/{_quoted(share_id)}", reason)

    def delete(self, transfer_id: str, *, reason: str | None = None) -> EndingResult:
        """Delete a transfer, and forget its client key. Raises ServiceRefused."""
        ended = self._end(f"/api/v1/transfers/{_quoted(transfer_id)}", reason)
        self._state.forget_key(transfer_id)
        return ended

    def sent(self) -> list[tuple[SentTransfer, dict[str, Any]]]:
        """Return what was sent from here to this service, oldest first, each with its present state: `unknown` if the
        service has no such transfer. Forgets the client keys of those that have ended. Raises ServiceRefused.
        """
        sweep(self._state, self._http)
        mine = [sent for sent in self._state.sent() if sent.server == self._server]
        return [(sent, self._state_of(sent)) for sent in mine]

    def _state_of(self, sent: SentTransfer) -> dict[str, Any]:
        try:
            shown = self._show(sent.transfer_id)
        except ServiceRefused as refusal:
            if refusal.status != httpx.codes.NOT_FOUND:
                raise
            return {"state": "unknown", "shares": []}
        if shown["state"] not in OPEN_STATES:
            self._state.forget_key(sent.transfer_id)
        return shown

    def _show(self, transfer_id: str) -> dict[str, Any]:
        return ask(self._http, "GET", f"/api/v1/transfers/{_quoted(transfer_id)}")

    def _client_key(self, sent: SentTransfer | None, ask_for_key: Callable[[], str | None]) -> bytes:
        if sent is not None and sent.client_key is None:
            raise TransferEnded
        key = sent.client_key if sent else ask_for_key()
        if not key:
            raise ClientKeyRequired(
                "This machine does not have the client key of this transfer: a new share cannot be issued from here. "
                "Issue it on the machine that sent the files, or set CADUCEE_CLIENT_KEY."
            )
        try:
            return decode(key, length=32)
        except MalformedSecret:
            raise NotConfigured("a client key has 43 characters, base64url; see the response to the deposit") from None

    def _issue_sealed(self, transfer_id: str, recipient: str, *, key: bytes, language: str) -> IssuedShare:
        try:
            transfer = SealedTransfer.reopen(self._http, transfer_id, key)
        except CryptoError:
            raise WrongClientKey from None
        share = transfer.issue(recipient, language=language)
        return IssuedShare(share.id, share.link.text(), share.password, share.expires_at, share.mail)

    def _issue_unsealed(self, transfer_id: str, recipient: str, *, key: bytes, language: str) -> IssuedShare:
        headers = {"Caducee-Client-Key": encode(key), "Accept-Language": language}
        path = f"/api/v1/transfers/{_quoted(transfer_id)}/shares"
        issued = ask(self._http, "POST", path, json={"recipient": recipient}, headers=headers)
        link, password = issued["link"], issued["password"]
        mail = mail_with_link(issued.get("mail"), place=link, link=link, password=password)
        return IssuedShare(issued["share_id"], link, password, issued["expires_at"], mail)

    def _end(self, path: str, reason: str | None) -> EndingResult:
        asked = {} if reason is None else {"reason": reason}
        answer = ask(self._http, "DELETE", path, params=asked, headers={"Prefer": "return=representation"})
        try:
            return EndingResult(str(answer["state"]), keys_destroyed=answer["keys_destroyed"] is True)
        except KeyError:
            raise ServiceRefused("ended, but the service did not report whether the keys are destroyed") from None


def _quoted(ident: str) -> str:
    return quote(ident, safe="")
