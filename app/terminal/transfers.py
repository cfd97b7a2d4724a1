"""`caducee transfer`: list and delete transfers as an operator on the machine, without the encrypted file names."""

from __future__ import annotations

from typing import Annotated

import typer

from app.actions.delete_transfer import delete_transfer
from app.actions.list_transfers import list_transfers, show_transfer
from app.terminal.console import AsJson, put_json, put_table, say
from app.terminal.opened import opened
from app.web.listing import listed

tree = typer.Typer(help="Transfers.", no_args_is_help=True)
TransferId = Annotated[str, typer.Argument(help="The transfer's id.")]


@tree.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """List the newest transfers of all depositors."""
    with opened() as resources:
        rows = [listed(resources, one) for one in list_transfers(resources, None)]
    if as_json:
        put_json({"transfers": [row.model_dump(mode="json") for row in rows]})
        return
    columns = ("ID", "STATE", "CREATED", "EXPIRES", "FILES", "BYTES", "SHARES")
    put_table(
        columns,
        (
            (r.id, r.state, r.created_at, r.expires_at, len(r.files), r.size, " ".join(s.state for s in r.shares))
            for r in rows
        ),
    )


@tree.command("show")
def show(transfer_id: TransferId, *, as_json: AsJson = False) -> None:
    """Show one transfer with its files and shares."""
    with opened() as resources:
        row = listed(resources, show_transfer(resources, None, transfer_id))
    if as_json:
        put_json(row.model_dump(mode="json"))
        return
    plain = row.model_dump(exclude={"files", "shares"})
    put_table(("FIELD", "VALUE"), plain.items())
    put_table(("FILE", "BYTES", "STATE"), ((f.number, f.size, f.state) for f in row.files))
    columns = ("SHARE", "RECIPIENT", "STATE", "USED", "ENDED", "ATTEMPTS LEFT", "BYTES SENT")
    put_table(
        columns,
        ((s.id, s.recipient, s.state, s.used_at, s.ended_at, s.attempts_left, s.bytes_served) for s in row.shares),
    )


@tree.command("delete")
def delete(transfer_id: TransferId) -> None:
    """Delete a transfer: its keys at once, its bytes within seconds."""
    with opened() as resources:
        delete_transfer(resources, transfer_id, caller=None)
    say(f"{transfer_id}: denied, keys destroyed; the next sweep deletes the bytes")
