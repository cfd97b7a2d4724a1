"""A recipient's program: redeems a share by its link's proof, and decrypts what it fetches by itself.

The server gets the proof and the password, never the link's secret, whether the transfer is sealed or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from app.client import sealing
from app.client.link import Link
from app.client.service import ask, refused, unreachable
from app.crypto.encoding import decode, encode
from app.crypto.token import new_secret
from app.crypto.wrapping import link_proof
from app.domain.file_meta import FileMeta


@dataclass(frozen=True, slots=True, repr=False)
class ClaimedFile:
    """A file of the claim; its size in bytes."""

    number: int
    size: int
    meta: FileMeta


def look(http: httpx.Client, link: Link) -> dict[str, Any]:
    """What the link is and whether it still works; redeems nothing. Raises ServiceRefused."""
    return ask(http, "POST", f"/api/v1/shares/{link.share_id}/look", json={"link_proof": _proof(link)})


@dataclass(frozen=True, slots=True, repr=False)
class SealedClaim:
    """A claim that was won, with the transfer key in memory."""

    http: httpx.Client
    id: str
    token: str
    transfer_id: str
    transfer_key: bytes
    files: list[ClaimedFile]

    @classmethod
    def redeem(cls, http: httpx.Client, link: Link, password: str, *, token: bytes | None = None) -> SealedClaim:
        """Claim, once. The same again with the same `token` (32 bytes) gets the same, should an answer be lost.

        Raises ServiceRefused, CannotDecrypt when link and password do not make the key, InvalidFileName.
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
        """A file, decrypted while it arrives; whole only once the iteration has ended. Raises ServiceRefused,
        CannotDecrypt.
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
        """Say that everything has arrived: the server destroys the keys. Raises ServiceRefused."""
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
