"""Canonical JSON (RFC 8785) of one flat object of strings, integers and booleans: an entry of the log.

For such an object with ASCII names, sorted members and the standard library's string quoting are canonical, and much
faster than a general implementation; a test compares the two.
"""

from collections.abc import Mapping
from json.encoder import encode_basestring as quoted

_MAX_SAFE = 2**53 - 1  # RFC 8785, section 3.2.2.3: exact in every JSON implementation


def canonical_json(fields: Mapping[str, object]) -> bytes:
    """Return the object as canonical UTF-8. Raises ValueError for a value or name outside this subset."""
    if not "".join(fields).isascii():
        raise ValueError("not a flat object with names in ASCII")
    members = ",".join(
        [
            f"{quoted(name)}:{quoted(value) if type(value) is str else _written(value)}"
            for name, value in sorted(fields.items())
        ]
    )
    return f"{{{members}}}".encode()


def _written(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) <= _MAX_SAFE:
        return str(value)
    raise ValueError("not a flat object of strings, whole numbers and truth values")
