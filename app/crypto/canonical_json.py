"""Canonical JSON (RFC 8785) of one flat object of strings, whole numbers and truth values: an entry of the log.

For such an object with names in ASCII the standard library's encoder writes what the RFC asks for, several times faster
than a general implementation; a test compares it with one.
"""

import json
from collections.abc import Mapping

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode

_MAX_SAFE = 2**53 - 1  # RFC 8785, section 3.2.2.3: what every reader of JSON can hold


def canonical_json(fields: Mapping[str, object]) -> bytes:
    """Return the object as canonical UTF-8. Raises ValueError for a value or name that it is not made for."""
    if not "".join(fields).isascii():
        raise ValueError("not a flat object with names in ASCII")
    for value in fields.values():
        if not isinstance(value, str) and (not isinstance(value, int) or abs(value) > _MAX_SAFE):
            raise ValueError("not a flat object of strings, whole numbers and truth values")
    return _encode(fields).encode()
