"""A recipient's client: claims a share with the link's proof, and decrypts the downloaded files itself.

The server receives the proof and the password, never the link's secret, whether or not the transfer is sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.client import sealing
from app.client.errors import ServiceUnavailable
from app.client.http_calls import ask, refused, unreachable
from app.client.link import Link
from app.crypto import chunked
from app.crypto.encoding import decode, encode
from app.crypto.token import new_secret
from app.crypto.wrapping import link_proof
from app.domain.file_meta import FileMeta


@dataclass(frozen=True, slots=True, repr=False)
class ClaimedFile:
    """A file of the claim; `size` in bytes."""

    number: int
    size: int
    meta: FileMeta


def look(http: httpx.Client, link: Link) -> dict[str, Any]:
    """Return the state of the link's share without claiming it. Raises ServiceRefused."""
    return ask(http, "POST", f"/api/v1/shares/{link.share_id}/look", json={"link_proof": _proof(link)})


@dataclass(frozen=True, slots=True, repr=False)
class SealedClaim:
    """A successful claim, with the transfer key in memory."""

    http: httpx.Client
    id: str
    token: str
    transfer_id: str
    transfer_key: bytes
    files: list[ClaimedFile]
    expires_at: str

    @classmethod
    def redeem(cls, http: httpx.Client, link: Link, password: str, *, token: bytes | None = None) -> SealedClaim:
        """Claim the share, which works once. After a lost response, a retry with the same `token` (32 bytes) returns
        the same claim.

        Raises ServiceRefused, CannotDecrypt if link and password do not yield the key, InvalidFileName,
        InvalidFilePath.
        """
        asked = {"link_proof": _proof(link), "password": password, "claim_token": encode(token or new_secret())}
        won = ask(http, "POST", f"/api/v1/shares/{link.share_id}/claim", json=asked)
        transfer_id: str = won["transfer_id"]
        transfer_key = sealing.unwrap_for_share(
            decode(won["wrapped_key"]),
            link_secret=link.secret,
            server_part=decode(won["server_part"], length=32),
            transfer_id=transfer_id,
            share_id=link.share_id,
        )
        files = [_opened(transfer_key, transfer_id, file) for file in won["files"]]
        return cls(http, won["claim_id"], won["claim_token"], transfer_id, transfer_key, files, won["expires_at"])

    def fetch(self, number: int, *, chunks: int = 0) -> Iterator[bytes]:
        """Yield a file from chunk number `chunks` on, decrypted while it arrives. It is complete only once the
        iteration has ended. Raises ServiceRefused, as ServiceUnavailable if the rest can be fetched later; CryptoError.
        """
        decryptor = chunked.Decryptor(self.transfer_key, chunked.file_context(self.transfer_id, number), chunks=chunks)
        if chunks:
            for piece in self._ciphertext(number, 0, chunked.HEADER_BYTES):
                yield from map(bytes, decryptor.update(piece))
        start = chunked.HEADER_BYTES + chunks * chunked.SEALED_CHUNK_BYTES if chunks else 0
        for piece in self._ciphertext(number, start, None):
            yield from map(bytes, decryptor.update(piece))
        yield bytes(decryptor.finish())

    def _ciphertext(self, number: int, start: int, end: int | None) -> Iterator[bytes]:
        wanted = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if start or end else {}
        try:
            with self.http.stream("GET", f"{self._path}/blobs/{number}", headers=self._headers | wanted) as answer:
                if not answer.is_success:
                    answer.read()
                    raise refused(answer)
                if wanted and answer.status_code != httpx.codes.PARTIAL_CONTENT:
                    raise ServiceUnavailable("the response is not the part that was asked for")
                yield from answer.iter_raw()  # as it arrives: larger pieces would be copied together, three times
        except httpx.HTTPError as error:
            raise unreachable(error) from None

    def complete(self) -> None:
        """Confirm that everything has arrived, so that the server destroys the keys. Raises ServiceRefused."""
        ask(self.http, "POST", f"{self._path}/complete", headers=self._headers)

    @property
    def _path(self) -> str:
        return f"/api/v1/claims/{self.id}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def _proof(link: Link) -> str:
    return encode(link_proof(link.secret))


def _opened(transfer_key: bytes, transfer_id: str, file: dict[str, Any]) -> ClaimedFile:
    meta = sealing.open_meta(transfer_key, transfer_id, file["number"], decode(file["sealed_meta"]))
    return ClaimedFile(file["number"], file["size"], meta)
