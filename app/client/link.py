"""The link that a recipient gets: `https://host/s/<share id>#<link secret>`; a sealed one has `#sealed.<link secret>`.

The word keeps programs that know nothing of sealed transfers from sending the secret to the server.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret
from app.crypto.token import is_id

SEALED_PREFIX = "sealed."


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A link taken apart: the page's address without secret, the share's id, and the secret of 32 bytes."""

    page: str
    share_id: str
    secret: bytes
    sealed: bool

    @classmethod
    def parse(cls, text: str) -> Link:
        """Take a link apart. Raises MalformedSecret for anything that is not one, without quoting it."""
        page, _, fragment = text.strip().partition("#")
        share_id = page.rpartition("/s/")[2]
        if not page.startswith(("https://", "http://")) or not is_id(share_id):
            raise MalformedSecret("link")
        sealed = fragment.startswith(SEALED_PREFIX)
        return cls(page, share_id, decode(fragment.removeprefix(SEALED_PREFIX), length=32), sealed)

    @property
    def server(self) -> str:
        """The origin to ask: `https://host`."""
        return self.page.removesuffix(f"/s/{self.share_id}")

    def text(self) -> str:
        """The link as it is sent."""
        return f"{self.page}#{SEALED_PREFIX if self.sealed else ''}{encode(self.secret)}"
