"""A file's name, folders, type and checksum: patient data, encrypted wherever it is stored (docs/security.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from app.domain.errors import InvalidFileName, InvalidFilePath
from app.domain.transfer import checked_file_name, checked_file_path, checked_media_type

MAX_JSON_BYTES = 3072
"""The largest JSON: every character of the longest name and path escaped, plus some margin. Encoded twice in
`Upload-Metadata`, it fits into a header line of 8 KiB, the default limit of nginx."""


@dataclass(frozen=True, slots=True, repr=False)
class FileMeta:
    """A checked name and media type; the CRC-32 of the plaintext, with which archives are written in one pass, None if
    the depositor's program did not compute it; and `path`, the folders above the file with `/` between them, empty if
    there are none. Without a repr, so that nothing reaches a log.
    """

    name: str
    media_type: str
    crc32: int | None = None
    path: str = ""

    @classmethod
    def checked(cls, name: str, media_type: str | None, path: str = "") -> FileMeta:
        """Check the values that a client sent. Raises InvalidFileName, InvalidFilePath."""
        return cls(checked_file_name(name), checked_media_type(media_type), path=checked_file_path(path))

    def to_json(self) -> bytes:
        """Return the JSON to be encrypted: `{"name":…, "path":…, "type":…, "crc32":…}`, UTF-8; without `path` if there
        are no folders, without `crc32` if it is unknown.
        """
        folders = {"path": self.path} if self.path else {}
        checksum = {} if self.crc32 is None else {"crc32": self.crc32}
        fields = {"name": self.name, **folders, "type": self.media_type, **checksum}
        return json.dumps(fields, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> FileMeta:
        """Parse such JSON. Other programs may have written it: name and path are checked, and a checksum that cannot be
        one counts as unknown. Raises InvalidFileName, InvalidFilePath.
        """
        try:
            fields = json.loads(data)
            path = "" if fields.get("path") is None else fields["path"]
            if not isinstance(path, str):
                raise InvalidFilePath
            crc32 = _checked_crc32(fields.get("crc32"))
            return replace(cls.checked(fields["name"], fields.get("type"), path), crc32=crc32)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):  # not JSON, or no such object
            raise InvalidFileName from None


def _checked_crc32(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**32 else None
