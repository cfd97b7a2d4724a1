"""Labels: the ASCII strings that bind every key and ciphertext to its use.

A label is `caducee/v1`, a purpose, then ids and numbers, separated by single spaces. No field contains a space, so two
labels of one purpose are equal only if their fields are equal. Purposes may contain spaces: labels of different
purposes differ because every id has 22 characters and no word of a purpose has. `label` does not check that length:
`label("share", "shred")` equals `label("share shred")`.
"""

_PREFIX = "caducee/v1"


def label(purpose: str, *fields: str | int) -> str:
    """Return the label of `purpose` for these ids and numbers. Raises ValueError for a malformed field."""
    return " ".join([_PREFIX, purpose, *(_written(field) for field in fields)])


def salt_of(identifier: str) -> bytes:
    """Return an id as an HKDF salt: its ASCII text. Raises ValueError if it is malformed."""
    return _written(identifier).encode("ascii")


def _written(field: str | int) -> str:
    if isinstance(field, int):
        if field < 0:
            raise ValueError("a number in a label cannot be negative")
        return str(field)
    if not field or not field.isascii() or not field.isprintable() or " " in field:
        raise ValueError("an id in a label is printable ASCII without spaces")
    return field
