"""A file's name, type and checksum: patient data, encrypted wherever it is stored (docs/security.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from app.domain.errors import InvalidFileName
from app.domain.transfer import checked_file_name, checked_media_type

MAX_JSON_BYTES = 1024
"""The largest JSON of name, type and checksum: every character of the longest name escaped, plus some margin."""


@dataclass(frozen=True, slots=True, repr=False)
class FileMeta:
    """A checked name and media type, and the CRC-32 of the plaintext, with which archives are written in one pass; None
    if the depositor's program did not compute it. Without a repr, so that nothing reaches a log.
    """

    name: str
    media_type: str
    crc32: int | None = None

    @classmethod
    def checked(cls, name: str, media_type: str | None) -> FileMeta:
        """Check the values that a client sent. Raises InvalidFileName."""
        return cls(checked_file_name(name), checked_media_type(media_type))

    def to_json(self) -> bytes:
        """Return the JSON to be encrypted: `{"name":…, "type":…, "crc32":…}`, UTF-8; no `crc32` if it is unknown."""
        checksum = {} if self.crc32 is None else {"crc32": self.crc32}
        return json.dumps({"name": self.name, "type": self.media_type, **checksum}, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> FileMeta:
        """Parse such JSON. Other programs may have written it: the name is checked, and a checksum that cannot be one
        counts as unknown. Raises InvalidFileName.
        """
        try:
            fields = json.loads(data)
            return replace(cls.checked(fields["name"], fields.get("type")), crc32=_checked_crc32(fields.get("crc32")))
        except (ValueError, LookupError, TypeError, AttributeError):  # not JSON, or not an object with these members
            raise InvalidFileName from None


def _checked_crc32(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**32 else None
