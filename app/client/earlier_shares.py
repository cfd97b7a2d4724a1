"""Shares that an interrupted send issued: it is unknown whether anybody saw their links.

A share that was used was seen: link and password are in its recipient's hands. Every other one is withdrawn, so that
at most one link per recipient is valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx

from app.client.errors import ServiceRefused
from app.client.http_calls import ask, ask_for
from app.client.patience import Patience

OVER = frozenset({404, 409, 410})
"""Statuses of a transfer or share that is gone, ended, or was never finished."""


def used_by(shares: Iterable[dict[str, Any]]) -> set[str]:
    """Return the recipients who used one of these shares, as the service lists them."""
    return {share["recipient"] for share in shares if share["used_at"]}


def shown_transfer(http: httpx.Client, transfer_id: str, patience: Patience) -> dict[str, Any] | None:
    """Return a transfer as the service shows it, ended or not; None if it does not exist. Raises ServiceRefused."""
    try:
        return patience.call(lambda: ask(http, "GET", f"/api/v1/transfers/{transfer_id}"))
    except ServiceRefused as refusal:
        if refusal.status not in OVER:
            raise
        return None


def withdraw_unused(http: httpx.Client, shares: Iterable[dict[str, Any]], patience: Patience) -> None:
    """Withdraw the open shares that nobody used. Raises ServiceRefused."""
    for share in shares:
        if not share["ended_at"] and not share["used_at"]:
            end(http, f"/api/v1/shares/{share['id']}", patience)


def end(http: httpx.Client, path: str, patience: Patience) -> None:
    """Delete a transfer or withdraw a share; one that does not exist has ended. Raises ServiceRefused."""
    try:
        patience.call(lambda: ask_for(http, "DELETE", path))
    except ServiceRefused as refusal:
        if refusal.status not in OVER:
            raise
