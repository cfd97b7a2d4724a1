"""The exported log: lines of JSON, one record each (docs/verify-without-us.md).

{"kind":"log", ...}          first: format, origin, public key, size, the boundary below which content was pruned
{"kind":"checkpoint", ...}   every signed note; `size` is absent from the one that was kept outside the database
{"kind":"entry", ...}        in order: the content that was hashed, as a string; or, once pruned, the hash alone
{"kind":"end", ...}          last: how many entries came before it
"""

from __future__ import annotations

import json
from base64 import b64encode

FORMAT = "caducee-audit-export/1"


def log_record(*, origin: str, public_key: str | None, size: int, pruned_below: int) -> str:
    """The first line."""
    head = {"kind": "log", "format": FORMAT, "origin": origin, "public_key": public_key}
    return _line({**head, "size": size, "pruned_below": pruned_below})


def checkpoint_record(note: str, size: int | None) -> str:
    """A signed note."""
    filed = {} if size is None else {"size": size}
    return _line({"kind": "checkpoint", **filed, "note": note})


def entry_record(sequence: int, content: str | None, leaf_hash: bytes) -> str:
    """An entry, or what is left of it."""
    if content is None:
        return _line({"kind": "entry", "sequence": sequence, "hash": b64encode(leaf_hash).decode("ascii")})
    return _line({"kind": "entry", "sequence": sequence, "content": content})


def end_record(entries: int) -> str:
    """The last line."""
    return _line({"kind": "end", "entries": entries})


def _line(record: dict[str, object]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
