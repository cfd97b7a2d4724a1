"""The table of `caducee sent`: a row for each share, with what the service observed of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.filesize import decimal

from app.domain.share import ShareState
from app.terminal.share_blocks import local_time
from app.terminal.table import Column

COLUMNS = (
    Column("TRANSFER"),
    Column("SHARE"),
    Column("TO", text=True),
    Column("STATE"),
    Column("FETCHED", rank=1),
    Column("OPENED", rank=3),
    Column("FILES", rank=2, text=True),
    Column("EXPIRES", rank=4),
)


def with_moments(share: dict[str, Any]) -> dict[str, Any]:
    """Return a share of the API with `opened_at`, when link and password were presented, and `fetched_at`, when its
    recipient had everything; None for what did not happen.
    """
    completed = share["state"] == ShareState.COMPLETED
    return share | {"opened_at": share["used_at"], "fetched_at": share["ended_at"] if completed else None}


def rows(sent: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a transfer; one if it has no share."""
    names, expires = ", ".join(sent["names"]), local_time(sent.get("expires_at", ""))
    for share in sent["shares"]:
        fetched, opened = _fetched(share), local_time(share["opened_at"] or "")
        yield sent["id"], share["id"], share["recipient"] or "", share["state"], fetched, opened, names, expires
    if not sent["shares"]:
        yield sent["id"], "", ", ".join(sent["recipients"]), sent["state"], "", "", names, expires


def _fetched(share: dict[str, Any]) -> str:
    """Return when the share was fetched. Bytes alone prove no fetched file: they may be of a download that was cut."""
    if share["fetched_at"]:
        return local_time(share["fetched_at"])
    return f"incomplete: {decimal(share['bytes_served'])}" if share["bytes_served"] else ""
