"""A depositor's client for sealed transfers: generates the keys, encrypts the files, and wraps the key for each share.

The server sees ciphertext, wrapped keys, and the password, which is useless without the link's secret. It never sees
that secret, the client key, the transfer key, a file name or file content. The transfer key is kept only in memory;
`reopen` recovers it from the client key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from app.client import sealing
from app.client.errors import ServiceRefused
from app.client.http_calls import ask
from app.client.link import Link
from app.client.mail_text import mail_with_link
from app.crypto.chunked import sealed_size
from app.crypto.encoding import decode, encode
from app.crypto.password import new_password
from app.crypto.token import new_secret
from app.crypto.wrapping import link_proof
from app.domain.file_meta import FileMeta


@dataclass(frozen=True, slots=True, repr=False)
class SealedShare:
    """A share for one recipient. Link and password are stored nowhere else; send them by two different channels. `mail`
    is a text to send with the link, if one was asked for and the service wrote it.
    """

    id: str
    link: Link
    password: str
    expires_at: str
    mail: str | None = None


@dataclass(slots=True, repr=False)
class SealedTransfer:
    """One sealed transfer. `http` has the server's URL and the access token; `files` is the number of files added;
    `shares` are those that existed when it was reopened, as the service lists them.
    """

    http: httpx.Client
    id: str
    client_key: bytes
    transfer_key: bytes
    files: int = 0
    expires_at: str = ""
    shares: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def create(
        cls, http: httpx.Client, *, client_key: bytes | None = None, idempotency_key: str | None = None, **terms: Any
    ) -> SealedTransfer:
        """Create a transfer with the request members `terms` (`expires_in`, `label`, ...) and fresh keys. With an
        `idempotency_key`, a repetition replaces a transfer whose response was lost. Raises ServiceRefused.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        opened = ask(http, "POST", "/api/v1/transfers", json={**terms, "sealed": True}, headers=headers)
        transfer = cls(http, opened["id"], client_key=client_key or new_secret(), transfer_key=new_secret())
        transfer.expires_at = opened["expires_at"]
        wrapped_key = sealing.wrap_for_owner(
            transfer.transfer_key,
            client_key=transfer.client_key,
            owner_part=decode(opened["owner_part"], length=32),
            transfer_id=transfer.id,
        )
        ask(http, "PUT", f"{transfer._path}/key", json={"wrapped_key": encode(wrapped_key)})
        return transfer

    @classmethod
    def reopen(cls, http: httpx.Client, transfer_id: str, client_key: bytes) -> SealedTransfer:
        """Recover the key of an existing transfer. Raises ServiceRefused, and CannotDecrypt for another client key."""
        path = f"/api/v1/transfers/{quote(transfer_id, safe='')}"
        kept = ask(http, "GET", f"{path}/key")
        transfer_key = sealing.unwrap_for_owner(
            decode(kept.get("wrapped_key", "")),
            client_key=client_key,
            owner_part=decode(kept["owner_part"], length=32),
            transfer_id=transfer_id,
        )
        shown = ask(http, "GET", path)
        files, shares = len(shown["files"]), shown["shares"]
        return cls(http, transfer_id, client_key, transfer_key, files, shown["expires_at"], shares)

    def add(self, meta: FileMeta, pieces: Iterable[bytes], *, size: int | None = None) -> int:
        """Encrypt and upload a file in one pass, and return its number. `size` in bytes, if known, lets the server
        refuse in advance. With `meta.crc32` (`sealing.crc32_of`), recipients get archives that every program opens.
        Raises ServiceRefused, and FileChanged if the content is not that of `meta.crc32`; the next call then reuses the
        number, under a fresh salt.
        """
        number = self.files
        headers = {"Caducee-Sealed-Meta": encode(sealing.seal_meta(self.transfer_key, self.id, number, meta))}
        if size is not None:
            headers["Content-Length"] = str(sealed_size(size))
        content = pieces if meta.crc32 is None else sealing.unchanged(pieces, meta.crc32)
        sealed = sealing.seal_file(self.transfer_key, self.id, number, content)
        ask(self.http, "PUT", f"{self._path}/blobs/{number}", content=sealed, headers=headers)
        self.files += 1
        return number

    def issue(
        self,
        recipient: str,
        *,
        password: str | None = None,
        idempotency_key: str | None = None,
        language: str | None = None,
        prepared_as: Callable[[str], None] = lambda _: None,
    ) -> SealedShare:
        """Issue a share: the server prepares it, and uploading the wrapped key opens it. `prepared_as` is told its id
        in between. With an `idempotency_key` and the same `password` (by default a new one), a repetition replaces a
        share whose preparation had no response. With a `language`, it comes with a text to mail. Raises ServiceRefused.
        """
        password, link_secret = password or new_password(), new_secret()
        asked = {"recipient": recipient, "password": password}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        headers |= {"Accept-Language": language} if language else {}
        prepared = ask(self.http, "POST", f"{self._path}/shares", json=asked, headers=headers)
        share_id: str = prepared["share_id"]
        prepared_as(share_id)
        wrapped_key = sealing.wrap_for_share(
            self.transfer_key,
            link_secret=link_secret,
            server_part=decode(prepared["server_part"], length=32),
            transfer_id=self.id,
            share_id=share_id,
        )
        key = {"wrapped_key": encode(wrapped_key), "link_proof": encode(link_proof(link_secret))}
        try:
            ask(self.http, "PUT", f"/api/v1/shares/{share_id}/key", json=key)
        except ServiceRefused:
            with suppress(ServiceRefused):  # a share left prepared would delay the transfer's early end
                ask(self.http, "DELETE", f"/api/v1/shares/{share_id}")
            raise
        link = Link(prepared["page"], share_id, link_secret, sealed=True)
        mail = mail_with_link(prepared.get("mail"), place=link.page, link=link.text(), password=password)
        return SealedShare(share_id, link, password, prepared["expires_at"], mail)

    @property
    def _path(self) -> str:
        return f"/api/v1/transfers/{self.id}"
