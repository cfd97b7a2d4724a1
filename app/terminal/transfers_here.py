"""`caducee transfer` as an operator on the machine: list, show and delete, without the encrypted file names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from app.actions.delete_transfer import delete_transfer
from app.actions.list_transfers import count_transfers, list_transfers, show_transfer
from app.domain.audit_events import Reason
from app.domain.transfer import TransferState
from app.domain.transfer_list import MAX_PAGE, Position, TransferFilter, parse_filter, parse_position
from app.runtime.resources import Resources
from app.terminal.console import AsJson, nobody_reads, put_json, put_json_array, put_rows, put_table, say
from app.terminal.opened import opened
from app.terminal.table import Column
from app.terminal.transfers import TransferId
from app.web.listing import listed
from app.web.schemas import TransferListed

SHARE_COLUMNS = (
    Column("SHARE"),
    Column("RECIPIENT", text=True),
    Column("STATE"),
    Column("USED", rank=1),
    Column("ENDED", rank=2),
    Column("ATTEMPTS LEFT", rank=4),
    Column("BYTES SENT", rank=3),
)
COLUMNS = (
    Column("ID", 22),
    Column("STATE", 14),
    Column("CREATED", 20, rank=4),
    Column("EXPIRES", 20, rank=1),
    Column("FILES", 5, rank=5),
    Column("BYTES", 12, rank=3),
    Column("SHARES", 10, rank=2, text=True),
    Column("OWNER", 20, rank=6, text=True),
    Column("RECIPIENTS", 20, rank=7, text=True),
)


def list_(
    *,
    state: Annotated[TransferState | None, typer.Option(help="Only transfers in this state.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only those of this owner, as `token list` shows it.")] = None,
    recipient: Annotated[str | None, typer.Option(help="Only those with a share for exactly this recipient.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only those created since: a date, or a time with its zone.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The newest N. Default: all.")] = None,
    after: Annotated[str | None, typer.Option(help="Continue after this place: `next` of an earlier list.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the transfers of all depositors, newest first."""
    wanted = parse_filter(state=state, owner=owner, recipient=recipient, since=since)
    position = None if after is None else parse_position(after)
    with opened() as resources:
        found = _Listing(resources, wanted, position, limit)
        if as_json:
            put_json_array('{"transfers": ', map(_json, found), lambda: f', "next": {json.dumps(found.next)}}}')
        else:
            put_rows(COLUMNS, map(_row, found))
        if found.following is not None and not nobody_reads():
            more = count_transfers(resources, wanted, found.following)
            say(f"{more} more transfers are not listed: a higher --limit, or --after {found.following}")


class _Listing:
    """The transfers of a list, read page by page: an open reader would keep destroyed keys in SQLite's WAL."""

    def __init__(self, resources: Resources, wanted: TransferFilter, after: Position | None, limit: int | None) -> None:
        self._resources, self._wanted, self._limit = resources, wanted, limit
        self.following = after

    @property
    def next(self) -> str | None:
        """Where a later list continues; None once everything is listed."""
        return None if self.following is None else str(self.following)

    def __iter__(self) -> Iterator[tuple[str, TransferListed]]:
        """Yield each transfer with its owner, who is not part of what depositors see."""
        left = self._limit
        while True:
            size = MAX_PAGE if left is None else min(MAX_PAGE, left)
            page = list_transfers(self._resources, None, self._wanted, after=self.following, limit=size)
            self.following = page.following
            yield from ((one.transfer.owner, listed(self._resources, one)) for one in page.transfers)
            left = None if left is None else left - size
            if self.following is None or left == 0:
                return


def _json(found: tuple[str, TransferListed]) -> str:
    owner, row = found
    return json.dumps({**row.model_dump(mode="json"), "owner": owner}, ensure_ascii=False)


def _row(found: tuple[str, TransferListed]) -> tuple[object, ...]:
    owner, r = found
    states, recipients = " ".join(s.state for s in r.shares), ", ".join(s.recipient for s in r.shares if s.recipient)
    return (r.id, r.state, r.created_at, r.expires_at, len(r.files), r.size, states, owner, recipients)


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
    put_table(
        SHARE_COLUMNS,
        ((s.id, s.recipient, s.state, s.used_at, s.ended_at, s.attempts_left, s.bytes_served) for s in row.shares),
    )


def delete_here(transfer_id: str, reason: Reason | None) -> tuple[str, bool]:
    """Delete a transfer. Return its state, and whether its keys were destroyed."""
    with opened() as resources:
        destroyed = delete_transfer(resources, transfer_id, caller=None, reason=reason)
        return show_transfer(resources, None, transfer_id).transfer.state.value, destroyed
