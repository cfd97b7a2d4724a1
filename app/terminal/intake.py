"""`caducee intake`: stop or resume the intake of new transfers, before a move, an upgrade or the end of the service."""

from __future__ import annotations

import typer

from app.actions.stop_intake import Drain, look_at_drain, resume_intake, stop_intake
from app.runtime.clock import Clock
from app.terminal.console import AsJson, put, put_json, say
from app.terminal.opened import database_only

tree = typer.Typer(help="Accept no new transfers, while those that exist go on.", no_args_is_help=True)


@tree.command("off")
def off(*, as_json: AsJson = False) -> None:
    """Accept no new transfers; uploads to existing ones, shares, claims, downloads and deletion go on."""
    with database_only() as database:
        drain = stop_intake(database, Clock())
    if as_json:
        put_json(_document(drain))
    else:
        say(_told(drain))


@tree.command("on")
def on(*, as_json: AsJson = False) -> None:
    """Accept new transfers again."""
    with database_only() as database:
        drain = resume_intake(database, Clock())
    if as_json:
        put_json(_document(drain))
    else:
        say("intake is on")


@tree.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Show whether intake is off, how many transfers are still held, and when the last of them expires."""
    with database_only() as database:
        drain = look_at_drain(database)
    if as_json:
        put_json(_document(drain))
    else:
        put(_told(drain))


def _document(drain: Drain) -> dict[str, object]:
    fields = {"since": drain.since, "held": drain.held, "last_expires_at": drain.last_expires_at}
    return {"intake_off": drain.since is not None, **fields}


def _told(drain: Drain) -> str:
    intake = f"intake is off since {drain.since:%Y-%m-%dT%H:%M:%SZ}" if drain.since else "intake is on"
    last = f", the last expires at {drain.last_expires_at:%Y-%m-%dT%H:%M:%SZ}" if drain.last_expires_at else ""
    return f"{intake}; {drain.held} transfers are held{last}"
