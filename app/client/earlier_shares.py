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
from app.client.moments import has_passed
from app.client.patience import Patience

OVER = frozenset({409, 410})
"""Statuses of a transfer or share that has ended, or was never finished."""


def require_over(refusal: ServiceRefused, expires_at: str) -> None:
    """Raise the refusal unless it says that a transfer, which expires at this time, has ended. One that the service
    does not know has ended only after its expiry: before, another owner may have begun it, and its link may be valid.
    """
    if refusal.status == httpx.codes.NOT_FOUND and expires_at and not has_passed(expires_at):
        raise ServiceRefused(
            "the service does not know the transfer that an earlier run began: use the access token of that run, or "
            f"wait until {expires_at}",
            refusal.code,
            refusal.status,
        )
    if refusal.status not in {*OVER, httpx.codes.NOT_FOUND}:
        raise refusal


def used_by(shares: Iterable[dict[str, Any]]) -> set[str]:
    """Return the recipients who used one of these shares, as the service lists them."""
    return {share["recipient"] for share in shares if share["used_at"]}


def shown_transfer(
    http: httpx.Client, transfer_id: str, patience: Patience, *, expires_at: str
) -> dict[str, Any] | None:
    """Return a transfer as the service shows it, ended or not; None if it is over. Raises ServiceRefused."""
    try:
        return patience.call(lambda: ask(http, "GET", f"/api/v1/transfers/{transfer_id}"))
    except ServiceRefused as refusal:
        require_over(refusal, expires_at)
        return None


def withdraw_unused(http: httpx.Client, shares: Iterable[dict[str, Any]], patience: Patience) -> None:
    """Withdraw the open shares that nobody used. Raises ServiceRefused."""
    for share in shares:
        if not share["ended_at"] and not share["used_at"]:
            end(http, f"/api/v1/shares/{share['id']}", patience)


def end(http: httpx.Client, path: str, patience: Patience, *, expires_at: str = "") -> None:
    """Delete a transfer or withdraw a share, unless it is over. Raises ServiceRefused."""
    try:
        patience.call(lambda: ask_for(http, "DELETE", path))
    except ServiceRefused as refusal:
        require_over(refusal, expires_at)
