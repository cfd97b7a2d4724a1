"""`caducee share revoke`: withdraw a share as an operator on the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from app.actions.withdraw_share import withdraw_share
from app.terminal.console import REFUSED, AsJson, Why, put_json, say
from app.terminal.opened import opened


def revoke(
    share_id: Annotated[str, typer.Argument(help="The share's id.")],
    *,
    reason: Why = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a share: its keys are destroyed at once and a running download is aborted."""
    with opened() as resources:
        ended = withdraw_share(resources, share_id, caller=None, reason=reason)
    if as_json:
        put_json({"id": share_id, "state": ended.state.value, "keys_destroyed": ended.keys_destroyed})
    elif ended.keys_destroyed:
        say(f"{share_id}: {ended.state.value}, keys destroyed")
    else:
        say(f"{share_id}: {ended.state.value}; its keys could NOT be destroyed: the sweeps retry")
    if not ended.keys_destroyed:
        raise typer.Exit(REFUSED)
