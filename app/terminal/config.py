"""`caducee config`: the settings in force."""

from __future__ import annotations

import typer

from app.runtime.settings import Settings
from app.terminal.console import AsJson, put_json, put_table

tree = typer.Typer(help="Settings.", no_args_is_help=True)


@tree.callback()
def config() -> None:
    """Settings."""


@tree.command("show")
def show(*, as_json: AsJson = False) -> None:
    """Show every setting and its value, with secrets masked."""
    shown = Settings().shown()
    if as_json:
        put_json(shown)
    else:
        put_table(("SETTING", "VALUE"), shown.items())
