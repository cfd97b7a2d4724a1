"""`caducee clock`: show whether the host's clock is trusted, and accept it as an operator."""

from __future__ import annotations

import typer

from app.actions.accept_clock import accept_clock
from app.actions.judge_clock import judge_clock
from app.terminal.console import REFUSED, AsJson, put, put_json, say
from app.terminal.opened import opened

tree = typer.Typer(help="The clock that decides on every expiry.", no_args_is_help=True)


@tree.command("status")
def status(*, as_json: AsJson = False) -> None:
    """Show whether the host's clock is trusted. Exit 1 if it is not: deposits and downloads are then refused."""
    with opened() as resources:
        seen = judge_clock(resources)
    if as_json:
        put_json({"now": seen.now, "host": seen.host, "believed": seen.problem is None, "problem": seen.problem})
    else:
        put(f"time    {seen.now:%Y-%m-%dT%H:%M:%SZ}")
        put(f"host    {seen.host:%Y-%m-%dT%H:%M:%SZ}")
        put(f"clock   {seen.problem or 'trusted'}")
    if seen.problem:
        raise typer.Exit(REFUSED)


@tree.command("accept")
def accept(*, as_json: AsJson = False) -> None:
    """Accept the host's current clock: after a long pause, or once you have corrected it."""
    with opened(as_scheduler=True) as resources:
        judgement = accept_clock(resources)
    if as_json:
        put_json({"now": judgement.now})
    else:
        say(f"accepted: it is {judgement.now:%Y-%m-%dT%H:%M:%SZ}")
