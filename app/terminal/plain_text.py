"""Text that any console shows harmlessly: no control characters, no directional marks, no encoding error."""

from __future__ import annotations

import codecs
import json
import unicodedata

_KEPT = frozenset("\n\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}")
_ASCII = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "œ": "oe", "Œ": "OE"})

ON_ENCODING_ERROR = "caducee.replace"
"""The name of the error handler for streams: replaces characters that the stream's encoding lacks."""


def visible(text: str) -> str:
    """Return the text with every character that is not printed, line breaks included, as an escape (`x1b` after a
    backslash): it could move the cursor, or reverse the order of what follows (CVE-2021-42574).
    """
    return visible_lines(text).replace("\n", "\\n")


def visible_lines(text: str) -> str:
    """Return the same, with line breaks kept."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else _escape(c) for c in text)


def visible_json(document: str) -> str:
    """Return a JSON document with such characters as JSON escapes, so that programs read the same values."""
    if document.isprintable():
        return document
    return "".join(c if c.isprintable() or c in _KEPT else json.dumps(c)[1:-1] for c in document)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Transliterate to ASCII where that is possible, otherwise write a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c if c.isascii() else "" if unicodedata.combining(c) else "?" for c in decomposed), error.end


codecs.register_error(ON_ENCODING_ERROR, _replace)
