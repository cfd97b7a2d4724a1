"""A file's name and type: patient data, encrypted wherever it is stored (docs/security.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.domain.errors import InvalidFileName
from app.domain.transfer import checked_file_name, checked_media_type

MAX_JSON_BYTES = 1024
"""The largest JSON of a name and type: every character of the longest name escaped, plus some margin."""


@dataclass(frozen=True, slots=True, repr=False)
class FileMeta:
    """A checked name and media type. Without a repr, so that neither reaches a log."""

    name: str
    media_type: str

    @classmethod
    def checked(cls, name: str, media_type: str | None) -> FileMeta:
        """Check the values that a client sent. Raises InvalidFileName."""
        return cls(checked_file_name(name), checked_media_type(media_type))

    def to_json(self) -> bytes:
        """Return the JSON to be encrypted: `{"name":…, "type":…}`, UTF-8."""
        return json.dumps({"name": self.name, "type": self.media_type}, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> FileMeta:
        """Parse such JSON. Other programs may have written it, so the name is checked. Raises InvalidFileName."""
        try:
            fields = json.loads(data)
            return cls.checked(fields["name"], fields.get("type"))
        except (ValueError, LookupError, TypeError, AttributeError):  # not JSON, or not an object with these members
            raise InvalidFileName from None
