"""A file's name and type: patient data, encrypted wherever it is stored (docs/security.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.domain.errors import InvalidFileName
from app.domain.transfer import checked_file_name, checked_media_type

MAX_JSON_BYTES = 1024
"""The most that the JSON of a name and type takes, every character of the longest name escaped, and some room."""


@dataclass(frozen=True, slots=True, repr=False)
class FileMeta:
    """A checked name and media type. No repr: it must not reach a log."""

    name: str
    media_type: str

    @classmethod
    def checked(cls, name: str, media_type: str | None) -> FileMeta:
        """Check what a client sent. Raises InvalidFileName."""
        return cls(checked_file_name(name), checked_media_type(media_type))

    def to_json(self) -> bytes:
        """The JSON that is encrypted: `{"name":…, "type":…}`, UTF-8."""
        return json.dumps({"name": self.name, "type": self.media_type}, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> FileMeta:
        """Read what `to_json` wrote, also from other programs: names are checked again. Raises InvalidFileName."""
        try:
            fields = json.loads(data)
            return cls.checked(fields["name"], fields.get("type"))
        except (ValueError, LookupError, TypeError, AttributeError):  # not JSON, or other JSON than this
            raise InvalidFileName from None
