"""Checkpoints, receipts, consistency proofs and public keys as people hand them over: copied from a terminal or page,
mailed, saved by an editor or a shell of another system.

`proof_text` restores the text that was printed; signatures are checked afterwards, over that text. None of these
formats contains a byte-order mark, a carriage return, an indented line, a no-break space or two empty lines in a row,
so nothing that was signed is lost. `kind_of` recognises what a text is, so that a wrong file is not taken for a forged
one.
"""

from __future__ import annotations

import codecs
import re
from enum import StrEnum

from app.crypto.errors import CryptoError, NoteInvalid
from app.crypto.signed_note import Checkpoint, split_note
from app.crypto.tlog_proof import HEADER

KEY_LABEL = "public key: "
"""What `caducee audit checkpoint` prints before the key."""

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad"))
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\t": " "})
_KEY_LINE = re.compile(r"(?m)^(?:[^+\n]* )?([^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+={0,2})$")
_OLD_LINE = re.compile(r"old \d+")


class Kind(StrEnum):
    """What a text is, in the words of an error message."""

    NOTHING = "empty"
    CHECKPOINT = "a checkpoint"
    CUT_CHECKPOINT = "a checkpoint without its empty line or signature"
    RECEIPT = "a receipt of deletion"
    CONSISTENCY_PROOF = "a consistency proof"
    PUBLIC_KEY = "a public key"
    LOG_EXPORT = "an exported log"
    JSON = "a JSON document"
    PAGE = "a saved page"
    BINARY = "no text"
    OTHER = "another text"


def decoded(data: bytes) -> str:
    """Return the text of a file in UTF-8, in UTF-16 with its mark (PowerShell's `>`), or in Windows-1252 (an editor's
    "ANSI"). Raises NoteInvalid for anything else.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encodings = ["utf-16"] if wide else ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise NoteInvalid("not a text")


def proof_text(text: str) -> str:
    """Return a checkpoint, receipt or consistency proof as it was printed: every line without surrounding spaces and
    ended by one newline, one empty line at most in a row, and without the line of the public key before it.
    """
    visible = text.translate(_INVISIBLE).translate(_SPACES)
    lines = [line.strip(" ") for line in re.split(r"\r\n|\r|\n", visible)]
    if len([line for line in lines if line]) > 1:
        lines = [line for line in lines if not line.startswith(KEY_LABEL)]
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    return f"{joined}\n" if joined else ""


def public_key_text(text: str) -> str:
    """Return the one public key in a text, also from a line with a label, or with the checkpoint that was printed below
    it. A text with no or several keys is returned as it is: it is no key.
    """
    visible = text.translate(_INVISIBLE).translate(_SPACES)
    keys = set(_KEY_LINE.findall("\n".join(line.strip() for line in visible.splitlines())))
    return keys.pop() if len(keys) == 1 else visible.strip()


def kind_of(text: str) -> Kind:
    """Return what a text is, by its form alone: nothing is verified."""
    plain = proof_text(text)
    first = plain.partition("\n")[0]
    recognised = (
        (Kind.NOTHING, not plain),
        (Kind.RECEIPT, first == HEADER),
        (Kind.CONSISTENCY_PROOF, _OLD_LINE.fullmatch(first) is not None),
        (Kind.CHECKPOINT, _is_checkpoint(plain)),
        (Kind.CUT_CHECKPOINT, _begins_as_checkpoint(plain)),
        (Kind.LOG_EXPORT, first.startswith("{") and "caducee-audit-export" in first),
        (Kind.JSON, first.startswith(("{", "["))),
        (Kind.PAGE, first.lower().startswith(("<!doctype", "<html"))),
        (Kind.PUBLIC_KEY, _KEY_LINE.search(plain) is not None),
    )
    return next((kind for kind, found in recognised if found), Kind.OTHER)


def _is_checkpoint(note: str) -> bool:
    try:
        Checkpoint.parse(split_note(note)[0])
    except CryptoError:
        return False
    return True


def _begins_as_checkpoint(text: str) -> bool:
    lines = text.split("\n")[:3]
    try:
        Checkpoint.parse("\n".join(lines) + "\n")
    except CryptoError:
        return len(lines) > 1 and lines[0].startswith("caducee.log/") and lines[1].isdecimal()
    return True
