"""Decodes names and query parameters from a request's address and headers: percent-encoded UTF-8 (RFC 3986, 2.1).

Lenient decoders replace or keep what they cannot decode, and the text of somebody else's file is stored. Here it is
refused, with the reason.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from urllib.parse import unquote_to_bytes

from fastapi import Request

from app.domain.errors import InvalidFileName, InvalidFilePath, InvalidRequest, NotAuthenticated, UnknownQueryParameter

_PERCENT_ALONE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_RUN = re.compile(r"(?:%[89A-Fa-f][0-9A-Fa-f])+")

NOT_ASCII = "contains characters that are not percent-encoded: write é as %C3%A9 and a space as %20"
PERCENT_ALONE = "contains a % that begins no percent-encoding: write it as %25"
NOT_UTF_8 = "is not UTF-8: write é as %C3%A9, not as %E9"
ENCODED_TWICE = "is percent-encoded twice: write é as %C3%A9, not as %25C3%25A9"


class NotDecodable(ValueError):
    """A text that is not percent-encoded UTF-8; the message says why, without the text."""


def decoded(encoded: bytes) -> str:
    """Return the text. Raises NotDecodable, also for a text that was encoded twice."""
    if not encoded.isascii():
        raise NotDecodable(NOT_ASCII)
    if _PERCENT_ALONE.search(encoded):
        raise NotDecodable(PERCENT_ALONE)
    try:
        text = unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        raise NotDecodable(NOT_UTF_8) from None
    if any(_is_utf_8(run) for run in _ENCODED_RUN.findall(text)):
        raise NotDecodable(ENCODED_TWICE)
    return text


def _is_utf_8(run: str) -> bool:
    try:
        unquote_to_bytes(run).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def name_in_path(request: Request, filename: str) -> str:
    """Return the file name at the end of the path. `filename` is the router's decoding of it, which keeps or replaces
    what is not UTF-8. Raises InvalidFileName.
    """
    try:
        decoded(request.scope["raw_path"])
    except NotDecodable as error:
        raise InvalidFileName(f"The file name {error}.") from None
    return filename


def name_in_header(request: Request) -> str:
    """Return the file name in `Caducee-File-Name`. Raises InvalidFileName."""
    header = request.headers.get("caducee-file-name")
    if header is None:
        raise InvalidFileName("Name the file in the path, or percent-encoded in the header Caducee-File-Name.")
    try:
        return decoded(header.encode("latin-1"))
    except NotDecodable as error:
        raise InvalidFileName(f"The file name {error}.") from None


def path_in_header(request: Request) -> str:
    """Return the folders above the file in `Caducee-File-Path`, empty without it. Raises InvalidFilePath."""
    try:
        return decoded(request.headers.get("caducee-file-path", "").encode("latin-1"))
    except NotDecodable as error:
        raise InvalidFilePath(f"The path {error}.") from None


def require_known_query(request: Request, known: frozenset[str]) -> None:
    """Refuse unknown, repeated and undecodable query parameters: a misspelt `expires_in` must not mean seven days.

    Raises UnknownQueryParameter, with the nearest known name; InvalidRequest.
    """
    seen = set[str]()
    for pair in filter(None, request.scope["query_string"].split(b"&")):
        name, value = (_parameter_text(part) for part in (pair.partition(b"=")[0], pair.partition(b"=")[2]))
        if name not in known:
            raise _unknown(name, sorted(known))
        if name in seen:
            raise InvalidRequest("A query parameter is repeated.")
        seen.add(name)
        if "\N{REPLACEMENT CHARACTER}" in value:
            raise InvalidRequest(f"{name}: was not UTF-8 before it was encoded.")


def _unknown(name: str, known: list[str]) -> UnknownQueryParameter:
    """Return the refusal. It does not repeat the name: that may be a value, typed in the wrong place."""
    if not known:
        return UnknownQueryParameter("This address takes no query parameters.")
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.0)[0]
    return UnknownQueryParameter(
        f"A query parameter is unknown here: is {nearest} meant? This address knows {', '.join(known)}."
    )


def _parameter_text(part: bytes) -> str:
    try:
        return decoded(part.replace(b"+", b" "))
    except NotDecodable as error:
        raise InvalidRequest(f"A query parameter {error}. curl encodes it with --url-query.") from None


def refusal_of_head(head: bytes) -> InvalidRequest:
    """Return the refusal of a request that the HTTP parser did not accept, given the bytes received so far. Many
    programs send a query as it was typed: the parser sees bytes that no address may contain.
    """
    method, _, rest = head.lstrip(b"\r\n").partition(b"\n")[0].partition(b" ")
    target = rest.rpartition(b" HTTP/")[0].strip()
    if method.isalpha() and b"/" in target and (not target.isascii() or b" " in target):
        return InvalidRequest(f"The address {NOT_ASCII}. curl encodes it with --url-query.")
    return InvalidRequest("This is not an HTTP/1.1 request.")


def headers_in(head: bytes) -> dict[str, str]:
    """Return the header fields of such a request, as far as they were received, by their names in lower case."""
    lines = head.lstrip(b"\r\n").partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def require_possible_token(given: str | None) -> None:
    """Raise NotAuthenticated, saying why, for a character that no token has: people copy a no-break space with it."""
    if given is not None and not given.isascii():
        raise NotAuthenticated(
            "The access token, or the text before it, contains a character that cannot be in one, such as a "
            "no-break space: copy it again."
        )
