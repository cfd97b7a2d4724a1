"""The exported log: one JSON record per line (docs/verify-without-us.md).

{"kind":"log", ...}          first: format, origin, public key, size, the boundary below which content was pruned
{"kind":"checkpoint", ...}   every signed note; `size` is absent from the one that was kept outside the database
{"kind":"entry", ...}        in order: the content that was hashed, as a string; or, once pruned, only the hash
{"kind":"end", ...}          last: the number of entries before it
"""

from __future__ import annotations

import json
from base64 import b64encode

FORMAT = "caducee-audit-export/1"


def log_record(*, origin: str, public_key: str | None, size: int, pruned_below: int) -> str:
    """Return the first record; `size` in entries."""
    head = {"kind": "log", "format": FORMAT, "origin": origin, "public_key": public_key}
    return _line({**head, "size": size, "pruned_below": pruned_below})


def checkpoint_record(note: str, size: int | None) -> str:
    """Return the record of a signed note; `size` in entries, None for the note kept outside the database."""
    filed = {} if size is None else {"size": size}
    return _line({"kind": "checkpoint", **filed, "note": note})


def entry_record(sequence: int, content: str | None, leaf_hash: bytes) -> str:
    """Return the record of an entry; `content` is None once it was pruned."""
    if content is None:
        return _line({"kind": "entry", "sequence": sequence, "hash": b64encode(leaf_hash).decode("ascii")})
    return _line({"kind": "entry", "sequence": sequence, "content": content})


def end_record(entries: int) -> str:
    """Return the last record."""
    return _line({"kind": "end", "entries": entries})


def _line(record: dict[str, object]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
