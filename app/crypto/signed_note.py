"""Signed notes (c2sp.org/signed-note, Ed25519) and the checkpoints they carry (c2sp.org/tlog-checkpoint).

The scheduler signs checkpoints of the audit log. Anyone with the verifier key can verify one, years later and offline,
with this program or any other implementation of the format.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.crypto.encoding import from_base64, to_base64
from app.crypto.errors import NoteInvalid

_SIGNING_KEY_BYTES = 32
_PUBLIC_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_ROOT_BYTES = 32
_ED25519 = b"\x01"  # signature type identifier byte
_SIGNATURE_MARK = "\N{EM DASH} "
_MAX_NOTE_CHARS = 1_000_000  # the limits of Go's implementation of notes, golang.org/x/mod/sumdb/note
_MAX_SIGNATURES = 100
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_MAX_TREE_SIZE = 2**63 - 1
_TREE_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_NOTE_TEXT = re.compile(r"[^\x00-\x09\x0b-\x1f\ud800-\udfff]*")


def new_signing_key() -> bytes:
    """Return a fresh Ed25519 private key: 32 random bytes (RFC 8032)."""
    return os.urandom(_SIGNING_KEY_BYTES)


class Signer:
    """Signs notes under one name. The name has no space and no plus, such as `caducee.example/log`."""

    def __init__(self, name: str, private_key_bytes: bytes) -> None:
        """The private key has 32 bytes. Raises ValueError for a malformed name or key."""
        if not _is_key_name(name):
            raise ValueError("the name of a note key is non-empty, without spaces or plus")
        if len(private_key_bytes) != _SIGNING_KEY_BYTES:
            raise ValueError("an Ed25519 private key has 32 bytes")
        self._name = name
        self._private_key = Ed25519PrivateKey.from_private_bytes(private_key_bytes)
        self._public_key_bytes = self._private_key.public_key().public_bytes_raw()

    @property
    def verifier_key(self) -> str:
        """The public key as text, `name+hash+base64`, for everyone who verifies."""
        key_id = _key_id(self._name, self._public_key_bytes)
        return f"{self._name}+{key_id.hex()}+{to_base64(_ED25519 + self._public_key_bytes)}"

    def sign(self, text: str) -> str:
        """Return the note: text, empty line, signature. Raises ValueError unless the text is lines of plain text."""
        if not text.endswith("\n") or not _is_note_text(text):
            raise ValueError("the text of a note is lines without control characters, each ended by a newline")
        signature = self._private_key.sign(text.encode("utf-8"))
        key_id = _key_id(self._name, self._public_key_bytes)
        return f"{text}\n{_SIGNATURE_MARK}{self._name} {to_base64(key_id + signature)}\n"


class Verifier:
    """Verifies notes against one public key; created by `Verifier.parse`."""

    def __init__(self, name: str, public_key_bytes: bytes) -> None:
        """The public key has 32 bytes."""
        self.name = name
        self._key_id = _key_id(name, public_key_bytes)
        self._public_key = Ed25519PublicKey.from_public_bytes(public_key_bytes)

    @classmethod
    def parse(cls, verifier_key: str) -> "Verifier":
        """Parse a verifier key, `name+hash+base64`. Raises NoteInvalid."""
        name, _, rest = verifier_key.partition("+")
        key_id, _, encoded = rest.partition("+")
        key = from_base64(encoded, NoteInvalid)
        public_key_bytes = key.removeprefix(_ED25519)
        if not _is_key_name(name) or key[:1] != _ED25519 or len(key) != 1 + _PUBLIC_KEY_BYTES:
            raise NoteInvalid("not a well-formed Ed25519 verifier key")
        if not _KEY_ID.fullmatch(key_id) or bytes.fromhex(key_id) != _key_id(name, public_key_bytes):
            raise NoteInvalid("the verifier key does not match its own hash")
        return cls(name, public_key_bytes)

    def under_name(self, name: str) -> "Verifier":
        """Return the same public key under another name: a renewed log continues to sign with its key."""
        return Verifier(name, self._public_key.public_bytes_raw())

    def verify(self, note: str) -> str:
        """Return the text of a note that this key signed. Raises NoteInvalid.

        Signatures of other keys are ignored; a single invalid one of this key invalidates the note.
        """
        text, signatures = split_note(note)
        verified = False
        for name, key_id, signature in signatures:
            if name == self.name and key_id == self._key_id:
                self._check(signature, text)
                verified = True
        if not verified:
            raise NoteInvalid("the note is not signed by the expected key")
        return text

    def _check(self, signature: bytes, text: str) -> None:
        try:
            self._public_key.verify(signature, text.encode("utf-8"))
        except InvalidSignature:
            raise NoteInvalid("the signature of the note is wrong") from None


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: its origin, its size in leaves, its root (32 bytes), and extension lines (normally none).

    Raises ValueError for values that no checkpoint can hold.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(line and "\n" not in line and _is_note_text(line) for line in (self.origin, *self.extensions)):
            raise ValueError("the lines of a checkpoint are not empty and have no control characters")
        if not 0 <= self.size <= _MAX_TREE_SIZE:
            raise ValueError("the size of a log is at least 0 and below 2**63")
        if len(self.root) != _ROOT_BYTES:
            raise ValueError("the root of a log has 32 bytes")

    def body(self) -> str:
        """Return the text to be signed."""
        return "\n".join([self.origin, str(self.size), to_base64(self.root), *self.extensions]) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Parse the text of a verified note; only the spelling of `body` is valid. Raises NoteInvalid."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "" or not _TREE_SIZE.fullmatch(lines[1]):
            raise NoteInvalid("not a well-formed checkpoint")
        try:
            return cls(lines[0], int(lines[1]), from_base64(lines[2], NoteInvalid), tuple(lines[3:]))
        except ValueError:
            raise NoteInvalid("not a well-formed checkpoint") from None


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return the text and the signatures (name, key id, signature) of a note, unverified. Raises NoteInvalid."""
    if len(note) > _MAX_NOTE_CHARS or not note.endswith("\n") or not _is_note_text(note):
        raise NoteInvalid("not a well-formed note")
    text, separator, block = note.rpartition("\n\n")
    lines = block.split("\n")[:-1]
    if not separator or not lines or len(lines) > _MAX_SIGNATURES:
        raise NoteInvalid("not a well-formed note")
    return text + "\n", list(_signatures(lines))


def _signatures(lines: list[str]) -> Iterator[tuple[str, bytes, bytes]]:
    for line in lines:
        name, separator, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
        if not line.startswith(_SIGNATURE_MARK) or not separator or not _is_key_name(name):
            raise NoteInvalid("not a well-formed signature line")
        signature = from_base64(encoded, NoteInvalid)
        if len(signature) <= _KEY_ID_BYTES:
            raise NoteInvalid("not a well-formed signature line")
        yield name, signature[:_KEY_ID_BYTES], signature[_KEY_ID_BYTES:]


def _is_key_name(name: str) -> bool:
    return bool(name) and _is_note_text(name) and not any(each.isspace() or each == "+" for each in name)


def _is_note_text(text: str) -> bool:
    """Return whether the text is valid Unicode without control characters below U+0020 other than newline."""
    return _NOTE_TEXT.fullmatch(text) is not None


def _key_id(name: str, public_key_bytes: bytes) -> bytes:
    return sha256(name.encode("utf-8") + b"\n" + _ED25519 + public_key_bytes).digest()[:_KEY_ID_BYTES]
