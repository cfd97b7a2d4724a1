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
    """Show every setting, its value with secrets masked, and where the value comes from."""
    settings = Settings()
    shown, sources = settings.shown(), settings.sources()
    if as_json:
        put_json({**shown, "from": sources})
    else:
        put_table(("SETTING", "VALUE", "FROM"), ((name, value, sources[name]) for name, value in shown.items()))
