"""A recipient's client: claims a share with the link's proof, and decrypts the downloaded files itself.

The server receives the proof and the password, never the link's secret, whether or not the transfer is sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.client import sealing
from app.client.http_calls import ask, refused, unreachable
from app.client.link import Link
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

    @classmethod
    def redeem(cls, http: httpx.Client, link: Link, password: str, *, token: bytes | None = None) -> SealedClaim:
        """Claim the share, which works once. After a lost response, a retry with the same `token` (32 bytes) returns
        the same claim.

        Raises ServiceRefused, CannotDecrypt if link and password do not yield the key, InvalidFileName.
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
        return cls(http, won["claim_id"], won["claim_token"], transfer_id, transfer_key, files)

    def fetch(self, number: int) -> Iterator[bytes]:
        """Yield a file, decrypted while it arrives. It is complete only once the iteration has ended. Raises
        ServiceRefused, CannotDecrypt.
        """
        try:
            with self.http.stream("GET", f"{self._path}/blobs/{number}", headers=self._headers) as answer:
                if not answer.is_success:
                    answer.read()
                    raise refused(answer)
                yield from sealing.open_file(self.transfer_key, self.transfer_id, number, answer.iter_raw())
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
