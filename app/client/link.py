"""A recipient's link: `https://host/s/<share id>#<link secret>`, or `#sealed.<link secret>` for a sealed transfer.

The prefix keeps programs without support for sealed transfers from sending the secret to the server.

Mail programs change links: they encode `#` as `%23`, wrap lines, add invisible characters and punctuation, and put the
link into the address of a gateway that checks it. `Link.parse` undoes that; `app/web/static/link.js` does the same.
Both are tested against tests/vectors/links.json.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from app.crypto.encoding import decode, encode
from app.crypto.errors import MalformedSecret

SEALED_PREFIX = "sealed."

_LINK = re.compile(
    r"((?i:https?)://[^\s/?#]+)/[Ss]/([A-Za-z0-9_-]{22})/?(?:\?[^\s#*]*)?[#*]"  # URL Defense 3 writes `*` for `#`
    r"(sealed\.)?([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])(?![_-]*[A-Za-z0-9])"  # the last character holds 4 bits
)
_ENCODINGS = 3
"""Rounds of percent-decoding: a gateway encodes again what a mail program had encoded."""

_HASH_ENTITY = re.compile(r"&(?:#35|#x23|num);", re.IGNORECASE)

_HYPHENS = dict.fromkeys((0x2010, 0x2011, 0x2212), "-")
"""Typographic hyphens and the minus sign, which text programs put for `-`."""

_LINE_END = re.compile(r"[^\S\r\n]*=?[\r\n]+[\s>|]*")
"""With the mark of a soft break (RFC 2045, 6.7), and those of a quoted reply."""

_MOST_LINES = 8
_PROOFPOINT = re.compile(r"urldefense\.proofpoint\.com/v2/url\?u=([^&\s]+)")


_PAGE = re.compile(r"https?://[^\s/?#]+/s/(?:([A-Za-z0-9_-]{22})(?![A-Za-z0-9_-]))?", re.IGNORECASE)


class DamagedPart(StrEnum):
    """What is wrong with a text that holds no whole link."""

    NONE = "none"
    ID = "id"
    SECRET = "secret"  # noqa: S105 - the name of a part


_ADVICE = {
    DamagedPart.NONE: "this text has no link: copy it from the message, from https to its last character",
    DamagedPart.ID: "the part of the link between /s/ and # is damaged: 22 letters, digits, - or _; copy it again",
    DamagedPart.SECRET: "the part of the link after # is missing or damaged: copy the link to its last character",
}


class DamagedLink(MalformedSecret):
    """A text holds no whole link. The message names the damaged part and quotes nothing."""

    def __init__(self, part: DamagedPart) -> None:
        """`part` is the damaged one."""
        super().__init__(f"link: {_ADVICE[part]}")
        self.part = part


@dataclass(frozen=True, slots=True, repr=False)
class Link:
    """A parsed link: the page's address without the secret, the share's id, and the secret (32 bytes)."""

    page: str
    share_id: str
    secret: bytes
    sealed: bool

    @classmethod
    def parse(cls, text: str) -> Link:
        """Return the first link in a text. Raises DamagedLink, without quoting the text, if there is none, or a part
        of it is damaged.
        """
        readings = list(_readings(_plain(text)))
        for reading in readings:
            found = _LINK.search(reading)
            if found:
                origin, share_id, sealed, secret = found.groups()
                return cls(f"{origin.lower()}/s/{share_id}", share_id, decode(secret, length=32), sealed is not None)
        raise DamagedLink(_damaged_part(readings))

    @property
    def server(self) -> str:
        """The server's origin: `https://host`."""
        return self.page.removesuffix(f"/s/{self.share_id}")

    def text(self) -> str:
        """Return the whole link, with the secret."""
        return f"{self.page}#{SEALED_PREFIX if self.sealed else ''}{encode(self.secret)}"


def _plain(text: str) -> str:
    """Return the text without encodings, invisible characters and the backslashes of Markdown."""
    wrapped = _PROOFPOINT.search(text)
    read = _unwrapped(wrapped[1]) if wrapped else text
    for _ in range(_ENCODINGS):
        read = unquote(read)
    read = _HASH_ENTITY.sub("#", read).translate(_HYPHENS)
    return "".join(character for character in read if character != "\\" and unicodedata.category(character) != "Cf")


def _damaged_part(readings: list[str]) -> DamagedPart:
    """Return the part of a link that no reading has whole."""
    pages = [found for reading in readings if (found := _PAGE.search(reading))]
    if not pages:
        return DamagedPart.NONE
    return DamagedPart.SECRET if any(found[1] for found in pages) else DamagedPart.ID


def _unwrapped(text: str) -> str:
    """Undo the encoding of Proofpoint's URL Defense, version 2."""
    return re.sub(r"-([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), text.replace("_", "/"))


def _readings(text: str) -> Iterator[str]:
    """Yield the text as it is, then with one line end less at a time, then without any white space."""
    start = re.search(r"https?:", text, re.IGNORECASE)
    rest = text[start.start() :] if start else text
    yield text
    for _ in range(_MOST_LINES):
        if not _LINE_END.search(rest):
            break
        rest = _LINE_END.sub("", rest, count=1)
        yield rest
    yield re.sub(r"\s+", "", text)
