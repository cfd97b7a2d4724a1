"""`caducee transfer delete`; the service's own `list` and `show` are in `app/terminal/transfers_here.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from app.terminal.console import AsJson, Why
from app.terminal.ending import is_over_http, own_transfers, put_ended, service_installed

tree = typer.Typer(help="Transfers.", no_args_is_help=True)
TransferId = Annotated[str, typer.Argument(help="The transfer's id.")]


@tree.callback()
def transfer() -> None:
    """Transfers."""


@tree.command("delete")
def delete(transfer_id: TransferId, *, reason: Why = None, as_json: AsJson = False) -> None:
    """Delete a transfer: its keys at once, its bytes within seconds. Over HTTP where CADUCEE_SERVER is set, else in the
    installation on this machine.
    """
    if is_over_http():
        with own_transfers() as own:
            ended = own.delete(transfer_id, reason=reason)
            state, destroyed = ended.state, ended.keys_destroyed
    else:
        with service_installed():
            from app.terminal.transfers_here import delete_here
        state, destroyed = delete_here(transfer_id, reason)
    then = "; the next sweep deletes the bytes"
    put_ended(transfer_id, state, keys_destroyed=destroyed, as_json=as_json, then=then)
