"""A recipient's link: `https://host/s/<share id>#<link secret>`, or `#sealed.<link secret>` for a sealed transfer.

The prefix keeps programs without support for sealed transfers from sending the secret to the server.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.crypto.token import is_id

SEALED_PREFIX = "sealed."


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A parsed link: the page's address without the secret, the share's id, and the secret (32 bytes)."""

    page: str
    share_id: str
    secret: bytes
    sealed: bool

    @classmethod
    def parse(cls, text: str) -> Link:
        """Parse a link. Raises MalformedSecret, without quoting the text, if it is not a link."""
        page, _, fragment = text.strip().partition("#")
        share_id = page.rpartition("/s/")[2]
        if not page.startswith(("https://", "http://")) or not is_id(share_id):
            raise MalformedSecret("link")
        sealed = fragment.startswith(SEALED_PREFIX)
        return cls(page, share_id, decode(fragment.removeprefix(SEALED_PREFIX), length=32), sealed)

    @property
    def server(self) -> str:
        """The server's origin: `https://host`."""
        return self.page.removesuffix(f"/s/{self.share_id}")

    def text(self) -> str:
        """Return the whole link, with the secret."""
        return f"{self.page}#{SEALED_PREFIX if self.sealed else ''}{encode(self.secret)}"
