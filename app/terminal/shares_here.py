"""`caducee share revoke`: withdraw a share as an operator on the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from app.actions.withdraw_share import withdraw_share
from app.terminal.console import say
from app.terminal.opened import opened


def revoke(share_id: Annotated[str, typer.Argument(help="The share's id.")]) -> None:
    """Withdraw a share: its keys are destroyed at once and a running download is aborted."""
    with opened() as resources:
        withdraw_share(resources, share_id, caller=None)
    say(f"{share_id}: withdrawn, keys destroyed")
