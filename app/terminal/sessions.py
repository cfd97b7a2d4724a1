"""`caducee session`: the browsers that are signed in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from app.actions.list_sessions import ListedSession, list_sessions
from app.actions.revoke_session import revoke_session
from app.runtime.clock import Clock
from app.terminal.console import REFUSED, AsJson, Why, put_json, put_table, say
from app.terminal.opened import database_only
from app.terminal.table import Column

tree = typer.Typer(help="Sessions of signed-in browsers.", no_args_is_help=True)

COLUMNS = (
    Column("ID"),
    Column("ACTOR"),
    Column("NAME", text=True, rank=1),
    Column("ROLE", rank=2),
    Column("STATE"),
    Column("SIGNED IN", rank=3),
    Column("LAST USED", rank=4),
    Column("SUBJECT", text=True, rank=5),
)


@tree.command("list")
def list_(
    *,
    ended: Annotated[bool, typer.Option("--ended", help="Add sessions that ended within the log's retention.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the sessions, and whom each name in the log stands for."""
    with database_only() as database:
        listed = list_sessions(database, Clock().now(), ended=ended)
    if as_json:
        put_json({"sessions": [{**asdict(it.row), "actor": it.row.actor, "ending": it.ending} for it in listed]})
        return
    put_table(COLUMNS, map(_row, listed))


def _row(listed: ListedSession) -> tuple[object, ...]:
    row, state = listed.row, "open" if listed.ending is None else listed.ending.replace("_", " ")
    return (row.id, row.actor, row.name, row.role, state, row.created_at, row.used_at, row.subject)


@tree.command("revoke")
def revoke(
    session_id: Annotated[str, typer.Argument(help="The session's id, from `session list`.")],
    *,
    reason: Why = None,
    as_json: AsJson = False,
) -> None:
    """Sign a browser out at once. Needs only the database."""
    with database_only() as database:
        revoked = revoke_session(database, Clock(), session_id, reason=reason)
    if as_json:
        put_json({"id": session_id, "revoked": revoked})
    if not revoked:
        say("there is no such session, or it has ended")
        raise typer.Exit(REFUSED)
    if not as_json:
        say(f"revoked {session_id}")
