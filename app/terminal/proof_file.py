"""The files that verification commands read: a checkpoint, a receipt, a consistency proof, the log's public key.

They are read as mail, editors and other systems leave them (`app/crypto/proof_text.py`). A file that is something else
is a mistake on the command line, exit 2: it must not look like a log that was tampered with.
"""

from __future__ import annotations

from pathlib import Path

from app.crypto.errors import NoteInvalid
from app.crypto.proof_text import Kind, decoded, kind_of, proof_text, public_key_text
from app.crypto.signed_note import Verifier

_MAX_BYTES = 1 << 22


class WrongFile(Exception):
    """A file is not what the command needs. The message names the file, and what it seems to be."""


def checkpoint_in(file: Path) -> str:
    """Return the checkpoint in a file, as it was printed. Raises WrongFile, OSError."""
    return _read(file, Kind.CHECKPOINT)


def receipt_in(file: Path) -> str:
    """Return the receipt in a file, as it was printed. Raises WrongFile, OSError."""
    return _read(file, Kind.RECEIPT)


def consistency_proof_in(file: Path) -> str:
    """Return the consistency proof in a file, as it was printed. Raises WrongFile, OSError."""
    return _read(file, Kind.CONSISTENCY_PROOF)


def public_key_in(file: Path) -> str:
    """Return the log's public key in a file. Raises WrongFile, OSError."""
    text = _text(file, Kind.PUBLIC_KEY)
    key = public_key_text(text)
    try:
        Verifier.parse(key)
    except NoteInvalid as error:
        kind = kind_of(text)
        raise WrongFile(
            f"{file}: {error}" if kind is Kind.PUBLIC_KEY else _wrong(file, Kind.PUBLIC_KEY, kind)
        ) from None
    return key


def _read(file: Path, wanted: Kind) -> str:
    text = _text(file, wanted)
    kind = kind_of(text)
    if kind is not wanted:
        raise WrongFile(_wrong(file, wanted, kind))
    return proof_text(text)


def _text(file: Path, wanted: Kind) -> str:
    with file.open("rb") as stream:
        data = stream.read(_MAX_BYTES)
    try:
        return decoded(data)
    except NoteInvalid:
        raise WrongFile(_wrong(file, wanted, Kind.BINARY)) from None


def _wrong(file: Path, wanted: Kind, kind: Kind) -> str:
    return f"{file} is not {wanted}: it {'is' if kind is Kind.NOTHING else 'seems to be'} {kind}"
